package memory

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// cursors are the places of readers by name.
type cursors struct {
	mu     sync.Mutex
	places map[string]*cursor
}

type cursor struct {
	at    bus.Position
	owner string
	until time.Time
}

// Claim lends a reader's place.
func (s *Store) Claim(_ context.Context, name, owner string, ttl time.Duration) (bus.Position, bool, error) {
	s.cursors.mu.Lock()
	defer s.cursors.mu.Unlock()
	if s.cursors.places == nil {
		s.cursors.places = make(map[string]*cursor)
	}
	c := s.cursors.places[name]
	if c == nil {
		c = &cursor{}
		s.cursors.places[strings.Clone(name)] = c
	}
	now := s.now()
	if c.owner != owner && now.Before(c.until) {
		return bus.Position{}, false, nil
	}
	c.owner, c.until = strings.Clone(owner), now.Add(ttl)
	return c.at, true, nil
}

// held returns the cursor if owner holds it. The caller holds the lock.
func (s *Store) held(name, owner string) *cursor {
	if c := s.cursors.places[name]; c != nil && c.owner == owner && s.now().Before(c.until) {
		return c
	}
	return nil
}

// Advance notes a position.
func (s *Store) Advance(_ context.Context, name, owner string, at bus.Position, ttl time.Duration) (bool, error) {
	s.cursors.mu.Lock()
	defer s.cursors.mu.Unlock()
	c := s.held(name, owner)
	if c == nil {
		return false, nil
	}
	c.at, c.until = bus.Position{Epoch: strings.Clone(at.Epoch), Offset: at.Offset}, s.now().Add(ttl)
	return true, nil
}

// Release ends a claim.
func (s *Store) Release(_ context.Context, name, owner string) error {
	s.cursors.mu.Lock()
	defer s.cursors.mu.Unlock()
	if c := s.held(name, owner); c != nil {
		c.until = time.Time{}
	}
	return nil
}
