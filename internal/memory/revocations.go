package memory

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

type revocation struct{ before, until time.Time }

// Revoke keeps a revocation and announces it.
func (s *Store) Revoke(_ context.Context, subject bus.Subject, before time.Time, ttl time.Duration) error {
	s.meta.mu.Lock()
	now := s.now()
	for name, r := range s.meta.revoked {
		if now.After(r.until) {
			delete(s.meta.revoked, name)
		}
	}
	until := now.Add(ttl)
	if old, ok := s.meta.revoked[subject]; ok {
		before, until = later(before, old.before), later(until, old.until)
	}
	s.meta.revoked[subject] = revocation{before: before, until: until}
	s.meta.mu.Unlock()
	data, err := json.Marshal(bus.Revocation{Kind: subject.Kind, ID: subject.ID, Before: before})
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	_, err = s.publish(&bus.Publication{Message: bus.Message{
		ID: uuid.NewString(), To: bus.Revoked, Data: data, ContentType: bus.JSON, Published: now,
	}})
	return err
}

// RevokedBefore returns the times of the revocations.
func (s *Store) RevokedBefore(_ context.Context, subjects []bus.Subject) ([]time.Time, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	times := make([]time.Time, len(subjects))
	for i, subject := range subjects {
		if r, ok := s.meta.revoked[subject]; ok && !now.After(r.until) {
			times[i] = r.before
		}
	}
	return times, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
