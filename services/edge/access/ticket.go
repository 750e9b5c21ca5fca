package access

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/revoked"
)

// Tickets says whether connections are given resume tickets. The zero value gives none.
type Tickets struct {
	// Keys are of 32 bytes each: the first seals, all open. Every edge of a system has the same ones.
	Keys [][]byte
	// Life is how long a ticket may be used; 2 min by default, at most 10 min. It never outlives the token.
	Life time.Duration
}

// Sealer seals and opens resume tickets. A ticket holds what a validated token says and when that was known to be true, so
// that a reconnect asks no auth service. A Sealer is immutable; it is nil when there are no tickets.
type Sealer struct {
	keys []cipher.AEAD
	life time.Duration
}

const (
	// TicketKeySize is how many bytes a key of Tickets has.
	TicketKeySize = 32
	// MaxTicketLife bounds Tickets.Life.
	MaxTicketLife = 10 * time.Minute
	// maxTicket is the longest ticket, in characters. An identity that needs more gets none.
	maxTicket = 16 << 10
	// ticketPurpose is authenticated with every ticket: the version of what is inside, and what it is for.
	ticketPurpose = "trunkline edge resume ticket v1"
)

// NewSealer returns the sealer of tickets; nil when there are none.
func NewSealer(t Tickets) (*Sealer, error) {
	if len(t.Keys) == 0 {
		return nil, nil
	}
	if t.Life < 0 || t.Life > MaxTicketLife {
		return nil, fmt.Errorf("edge: Tickets.Life is %s, allowed are up to %s", t.Life, MaxTicketLife)
	}
	s := &Sealer{life: t.Life}
	for i, key := range t.Keys {
		if len(key) != TicketKeySize {
			return nil, fmt.Errorf("edge: Tickets.Keys[%d] has %d bytes, it must have %d", i, len(key), TicketKeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("edge: Tickets.Keys[%d]: %w", i, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("edge: Tickets.Keys[%d]: %w", i, err)
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// Seal returns a ticket of an identity that is known to be valid at this time, and when the ticket ends. Both are empty when
// there is no ticket.
func (s *Sealer) Seal(id *bus.Identity, now time.Time) (string, time.Time) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	plain, err := proto.MarshalOptions{}.MarshalAppend(plain, convert.IdentityProto(id))
	if err != nil {
		return "", time.Time{} // only text that is no UTF-8 could do this, and no token has any
	}
	sealed := s.keys[0].Seal(nil, nil, plain, []byte(ticketPurpose)) //nolint:gosec // it makes a random nonce itself
	text := base64.RawURLEncoding.EncodeToString(sealed)
	if len(text) > maxTicket {
		return "", time.Time{}
	}
	return text, s.end(id, now)
}

// end is when a ticket of the identity, sealed at the time, may not be used any more.
func (s *Sealer) end(id *bus.Identity, sealed time.Time) time.Time {
	if end := sealed.Add(s.life); end.Before(id.Expires) {
		return end
	}
	return id.Expires
}

// Open returns what a ticket holds, and when it was sealed. Outside there is one text for every cause.
func (s *Sealer) Open(ticket string, now time.Time) (*bus.Identity, time.Time, error) {
	if s == nil || len(ticket) > maxTicket {
		return nil, time.Time{}, bus.ErrTicketInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil {
		return nil, time.Time{}, bus.ErrTicketInvalid
	}
	for _, key := range s.keys {
		plain, err := key.Open(nil, nil, raw, []byte(ticketPurpose))
		if err != nil || len(plain) < 8 {
			continue
		}
		p := new(authv1.Identity)
		if proto.Unmarshal(plain[8:], p) != nil {
			break
		}
		id, sealed := convert.Identity(p), time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
		if !now.Before(s.end(id, sealed)) || sealed.After(now.Add(revoked.ClockSkew)) {
			break
		}
		return id, sealed, nil
	}
	return nil, time.Time{}, bus.ErrTicketInvalid
}

// Renewal is when a ticket sealed at a time is followed by the next one, in Unix seconds. That is when about half of its
// life is over, spread over a quarter of it. So the tickets of a storm of connects are not all due at once.
func (s *Sealer) Renewal(sealed time.Time) int64 {
	at := sealed.Add(s.life/2 - s.life/8)
	if spread := s.life / 4; spread > 0 {
		at = at.Add(rand.N(spread)) //nolint:gosec // spreading needs no secret
	}
	return at.Unix()
}

// Renewals is how many tickets may be sealed for some sessions in an interval. When all are due, all get theirs within an
// eighth of a ticket's life.
func (s *Sealer) Renewals(sessions int, interval time.Duration) int {
	return int(int64(sessions)*int64(interval)/max(int64(s.life/8), int64(interval))) + 1
}
