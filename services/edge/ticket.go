package edge

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Tickets says whether connections are given resume tickets. The zero value gives none.
type Tickets struct {
	// Keys are of 32 bytes each: the first seals, all open. Every edge of a system has the same ones.
	Keys [][]byte
	// Life is how long a ticket may be used; 2 min by default, at most 10 min. It never outlives the token.
	Life time.Duration
}

// sealer seals and opens resume tickets: what a validated token says and when that was known to be true, so that a
// reconnect asks no auth service. It is immutable; nil when there are no tickets.
type sealer struct {
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

func newSealer(t Tickets) (*sealer, error) {
	if len(t.Keys) == 0 {
		return nil, nil
	}
	if t.Life < 0 || t.Life > MaxTicketLife {
		return nil, fmt.Errorf("edge: Tickets.Life is %s, allowed are up to %s", t.Life, MaxTicketLife)
	}
	s := &sealer{life: t.Life}
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

// seal returns a ticket of an identity that is known to be right now, and when it ends; empty when there is none.
func (s *sealer) seal(id *bus.Identity, now time.Time) (string, time.Time) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())) //nolint:gosec // after 1970
	plain, err := proto.MarshalOptions{}.MarshalAppend(plain, rpc.IdentityProto(id))
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
func (s *sealer) end(id *bus.Identity, sealed time.Time) time.Time {
	if end := sealed.Add(s.life); end.Before(id.Expires) {
		return end
	}
	return id.Expires
}

// open returns what a ticket holds. Outside there is one text for every cause.
func (s *sealer) open(ticket string, now time.Time) (*bus.Identity, time.Time, error) {
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
		id, sealed := rpc.IdentityFromProto(p), time.UnixMilli(int64(binary.BigEndian.Uint64(plain))) //nolint:gosec // as it was written
		if !now.Before(s.end(id, sealed)) || sealed.After(now.Add(clockSkew)) {
			break
		}
		return id, sealed, nil
	}
	return nil, time.Time{}, bus.ErrTicketInvalid
}

// redeem returns the identity of a ticket, without a call of the auth service.
func (e *Edge) redeem(ctx context.Context, ticket string) (*bus.Identity, error) {
	id, sealed, err := e.tickets.open(ticket, time.Now())
	if err != nil {
		return nil, err
	}
	if err := e.revocations.check(ctx, id, sealed); err != nil {
		return nil, err
	}
	e.metrics.resumed.Inc()
	return id, nil
}

// ticket adds a ticket to the answer of a connect. There is none while a revocation may have been missed: it
// would carry that on to the next edge.
func (s *session) ticket(c *edgev1.Connected, id *bus.Identity) {
	e := s.owner
	if e.tickets == nil {
		return
	}
	now := time.Now()
	s.renews.Store(e.tickets.renewal(now))
	if !e.revocations.sure() {
		return
	}
	if text, end := e.tickets.seal(id, now); text != "" {
		c.Ticket, c.TicketExpireTime = text, timestamppb.New(end)
	}
}

// renewal is when a ticket sealed at a time is followed by the next one, in Unix seconds: when about half of its life
// is over, spread over a quarter of it, so that those of a storm of connects are not all due at once.
func (s *sealer) renewal(sealed time.Time) int64 {
	at := sealed.Add(s.life/2 - s.life/8)
	if spread := s.life / 4; spread > 0 {
		at = at.Add(rand.N(spread)) //nolint:gosec // spreading needs no secret
	}
	return at.Unix()
}

// renewable says whether the session has tickets, which may be sealed now.
func (s *session) renewable() bool {
	return s.owner.tickets != nil && s.renews.Load() != 0 && s.refused.Load() == nil && s.owner.revocations.sure()
}

// renew sends the session a new ticket. It may be called with the shard's lock held.
func (s *session) renew(now time.Time, a *attempt) {
	if f := s.nextTicket(now); len(f) > 0 {
		s.push(f, a)
	}
}

// nextTicket returns the frame of a new ticket; nil when there is none. The caller knows that the identity is right at
// the time: that no revocation of it can have been missed.
func (s *session) nextTicket(now time.Time) []byte {
	e := s.owner
	s.renews.Store(e.tickets.renewal(now))
	text, end := e.tickets.seal(s.identity.Load(), now)
	if text == "" {
		return nil
	}
	e.metrics.renewed.Inc()
	return s.eventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Ticket{Ticket: &edgev1.ResumeTicket{
		Ticket: text, ExpireTime: timestamppb.New(end),
	}}})
}

// renewals is how many tickets one sweep of a shard may seal: so many that all of its sessions get theirs within an
// eighth of a ticket's life, when all are due.
func (s *sealer) renewals(sessions int) int {
	return int(int64(sessions)*int64(sweepInterval)/max(int64(s.life/8), int64(sweepInterval))) + 1
}
