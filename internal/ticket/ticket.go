// Package ticket lets a token open one stream by a URL, which may be seen by others: in logs, in a history, over a shoulder. So a
// ticket stands for one address and is good for one use. The stream that it opened can come back, because it tells its reader a
// proof that is in no URL.
package ticket

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// Life is how long a ticket may be used for the first time.
	Life = time.Minute
	// prefix begins a ticket, so that it is told from a token.
	prefix = "tls_"
	// secretBytes is how much of a ticket nobody can guess, and proofBytes how much of a proof.
	secretBytes, proofBytes = 32, 16
	// resumeLimit is how long a stream may come back at most. Tokens that live longer open a new one then.
	resumeLimit = 24 * time.Hour
)

// Pass is what a ticket stands for.
type Pass struct {
	// Token is what made the ticket. It is validated again at each use, so whatever ends the token ends the ticket.
	Token   string      `json:"token"`
	Address bus.Address `json:"-"`
	// Expires is when the token ends.
	Expires time.Time `json:"expires"`
	// Proof is what the reader of the stream shows to come back.
	Proof string `json:"proof,omitempty"`
}

// Tickets makes tickets and opens them. The store knows a ticket by its digest. What it keeps is sealed under a key that only the
// ticket yields. Tickets may be used concurrently, and those of one process by another one with the same store.
type Tickets struct{ store bus.Tokens }

// New returns tickets that are kept in a store.
func New(store bus.Tokens) *Tickets { return &Tickets{store: store} }

// Mint makes a ticket, and says until when it may be used.
func (t *Tickets) Mint(ctx context.Context, p Pass) (string, time.Time, error) {
	text := prefix + random(secretBytes)
	now := time.Now()
	ends := now.Add(Life)
	if p.Expires.Before(ends) {
		ends = p.Expires
	}
	p.Proof = ""
	if err := t.save(ctx, fresh, text, p, ends.Sub(now)); err != nil {
		return "", time.Time{}, fmt.Errorf("keep a ticket: %w", err)
	}
	return text, ends, nil
}

// Open returns what a ticket stands for. Without a proof it is the first use, after which there is no other one. With the proof of
// the stream that the first use has opened, it is that stream, which comes back. Everything else is ErrTicketInvalid.
func (t *Tickets) Open(ctx context.Context, text, proof string) (Pass, error) {
	if !strings.HasPrefix(text, prefix) || len(text) != len(prefix)+base64.RawURLEncoding.EncodedLen(secretBytes) {
		return Pass{}, bus.ErrTicketInvalid
	}
	if proof != "" {
		p, err := t.load(ctx, used, text)
		if err == nil && subtle.ConstantTimeCompare([]byte(p.Proof), []byte(proof)) != 1 {
			return Pass{}, bus.ErrTicketInvalid
		}
		return p, err
	}
	p, err := t.load(ctx, fresh, text)
	if err != nil {
		return Pass{}, err
	}
	p.Proof = random(proofBytes)
	ttl := min(time.Until(p.Expires), resumeLimit)
	if ttl <= 0 {
		return Pass{}, bus.ErrTicketInvalid
	}
	// The store takes an id once: of two that come at the same time one is the first.
	if err := t.save(ctx, used, text, p, ttl); errors.Is(err, bus.ErrTokenExists) {
		return Pass{}, bus.ErrTicketInvalid.With("the ticket was used already; a page gets a new one", nil)
	} else if err != nil {
		return Pass{}, fmt.Errorf("use a ticket: %w", err)
	}
	return p, nil
}

// state is what a record says of a ticket: that it was made, or that it was used.
type state string

const (
	fresh state = "stream ticket\n"
	used  state = "used stream ticket\n"
)

// record is a Pass as it is sealed.
type record struct {
	Pass

	To string `json:"to"`
}

func (t *Tickets) save(ctx context.Context, s state, text string, p Pass, ttl time.Duration) error {
	plain, err := json.Marshal(record{p, p.Address.String()})
	if err != nil {
		return err
	}
	sealed := s.seal(text).Seal(nil, nil, plain, nil) //nolint:gosec // it makes a random nonce itself
	return t.store.SaveToken(ctx, s.id(text), sealed, ttl)
}

func (t *Tickets) load(ctx context.Context, s state, text string) (Pass, error) {
	sealed, err := t.store.Token(ctx, s.id(text))
	if errors.Is(err, bus.ErrTokenNotFound) {
		return Pass{}, bus.ErrTicketInvalid
	}
	if err != nil {
		return Pass{}, fmt.Errorf("look for a ticket: %w", err)
	}
	var r record
	plain, err := s.seal(text).Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(plain, &r) != nil {
		return Pass{}, bus.ErrTicketInvalid // garbage in the store
	}
	if r.Address, err = bus.ParseAddress(r.To); err != nil || !time.Now().Before(r.Expires) {
		return Pass{}, bus.ErrTicketInvalid
	}
	return r.Pass, nil
}

// id is what the store knows a ticket by.
func (s state) id(text string) string { return bus.TokenDigest(string(s) + text) }

// seal returns the cipher whose key only the ticket yields.
func (s state) seal(text string) cipher.AEAD {
	key := sha256.Sum256([]byte("the key of a " + string(s) + text))
	block, _ := aes.NewCipher(key[:])              // fails for no key of this size
	aead, _ := cipher.NewGCMWithRandomNonce(block) // fails for no cipher of this block size
	return aead
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
