package memory

import (
	"context"
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

// forgetSome forgets tokens whose time is over, a few at a time, so that the cost of forgetting is spread.
func forgetSome[K comparable, V any](all map[K]V, over func(V) bool) {
	seen := 0
	for name, v := range all {
		if over(v) {
			delete(all, name)
		}
		if seen++; seen >= 4 {
			return
		}
	}
}

// SaveToken keeps a token.
func (s *Store) SaveToken(_ context.Context, id string, value []byte, ttl time.Duration) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	forgetSome(s.meta.tokens, func(t token) bool { return now.After(t.until) })
	if t, ok := s.meta.tokens[id]; ok && !now.After(t.until) {
		return bus.ErrTokenExists
	}
	s.meta.tokens[id] = token{value: value, until: now.Add(ttl)}
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
	delete(s.meta.tokens, id)
	return nil
}

// SaveFamily begins a family of refresh tokens.
func (s *Store) SaveFamily(_ context.Context, id, newest string, value []byte, ttl time.Duration) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	forgetSome(s.meta.families, func(f *family) bool { return now.After(f.until) })
	if f, ok := s.meta.families[id]; ok && !now.After(f.until) {
		return bus.ErrTokenExists
	}
	s.meta.families[id] = &family{token: token{value, now.Add(ttl)}, newest: newest}
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
		f.newest, f.before = x.New, x.Old
		f.token = token{x.Value, now.Add(x.TTL)}
		f.answer = token{x.Answer, now.Add(x.Window)}
		return bus.Exchanged{Outcome: bus.ExchangeDone}, nil
	case x.Old == f.before && !now.After(f.answer.until):
		return bus.Exchanged{Outcome: bus.ExchangeRepeated, Answer: f.answer.value}, nil
	}
	return bus.Exchanged{Outcome: bus.ExchangeStale}, nil
}
