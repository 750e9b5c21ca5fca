package memory

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

type token struct {
	value []byte
	until time.Time
}

// family is the tokens that descend from one sign-in.
type family struct {
	token
	newest, before string // digests of the newest token and of the one before it
	answer         token  // to the exchange of the one for the other
}

func sizeOfToken(id string, t token) int { return tokenCost + 2*len(id) + len(t.value) }

func sizeOfFamily(id string, f *family) int {
	return familyCost + 2*len(id) + len(f.value) + len(f.newest) + len(f.before) + len(f.answer.value)
}

// SaveToken keeps a token.
func (s *Store) SaveToken(_ context.Context, id string, value []byte, ttl time.Duration) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	s.expire(now, atACall)
	old, there := s.meta.tokens[id]
	if there && !now.After(old.until) {
		return bus.ErrTokenExists
	}
	if err := s.budget.full(); err != nil {
		return err
	}
	if there {
		s.budget.used.Add(int64(-sizeOfToken(id, old)))
	}
	id = strings.Clone(id)
	t := token{value: bytes.Clone(value), until: now.Add(ttl)}
	s.meta.tokens[id] = t
	s.meta.tokenEnds.add(id, t.until)
	s.budget.used.Add(int64(sizeOfToken(id, t)))
	return nil
}

// Token returns a token's value.
func (s *Store) Token(_ context.Context, id string) ([]byte, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	t, ok := s.meta.tokens[id]
	if !ok || s.now().After(t.until) {
		return nil, bus.ErrTokenNotFound
	}
	return t.value, nil
}

// DropToken forgets a token.
func (s *Store) DropToken(_ context.Context, id string) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	if t, ok := s.meta.tokens[id]; ok {
		s.budget.used.Add(int64(-sizeOfToken(id, t)))
		delete(s.meta.tokens, id)
	}
	return nil
}

// SaveFamily begins a family of refresh tokens.
func (s *Store) SaveFamily(_ context.Context, id, newest string, value []byte, ttl time.Duration) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	s.expire(now, atACall)
	old, there := s.meta.families[id]
	if there && !now.After(old.until) {
		return bus.ErrTokenExists
	}
	if err := s.budget.full(); err != nil {
		return err
	}
	if there {
		s.budget.used.Add(int64(-sizeOfFamily(id, old)))
	}
	id = strings.Clone(id)
	f := &family{token: token{bytes.Clone(value), now.Add(ttl)}, newest: strings.Clone(newest)}
	s.meta.families[id] = f
	s.meta.familyEnds.add(id, f.until)
	s.budget.used.Add(int64(sizeOfFamily(id, f)))
	return nil
}

// Family returns a family's value.
func (s *Store) Family(_ context.Context, id string) ([]byte, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	f, ok := s.meta.families[id]
	if !ok || s.now().After(f.until) {
		return nil, bus.ErrTokenNotFound
	}
	return f.value, nil
}

// Exchange replaces the newest token of a family.
func (s *Store) Exchange(_ context.Context, id string, x bus.Exchange) (bus.Exchanged, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	f, ok := s.meta.families[id]
	switch {
	case !ok || now.After(f.until):
		return bus.Exchanged{}, bus.ErrTokenNotFound
	case x.Old == f.newest:
		before := sizeOfFamily(id, f)
		f.newest, f.before = strings.Clone(x.New), strings.Clone(x.Old)
		f.token = token{bytes.Clone(x.Value), now.Add(x.TTL)}
		f.answer = token{bytes.Clone(x.Answer), now.Add(x.Window)}
		s.budget.used.Add(int64(sizeOfFamily(id, f) - before))
		return bus.Exchanged{Outcome: bus.ExchangeDone}, nil
	case x.Old == f.before && !now.After(f.answer.until):
		return bus.Exchanged{Outcome: bus.ExchangeRepeated, Answer: f.answer.value}, nil
	}
	return bus.Exchanged{Outcome: bus.ExchangeStale}, nil
}
