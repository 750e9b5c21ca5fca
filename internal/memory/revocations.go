package memory

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

type revocation struct{ before, until time.Time }

// Revoke keeps a revocation and announces it.
func (s *Store) Revoke(_ context.Context, subject bus.Subject, before time.Time, ttl time.Duration) error {
	subject = subject.Clone()
	s.meta.mu.Lock()
	now := s.now()
	before = s.meta.revokes(now, before)
	s.expire(now, atACall)
	until := now.Add(ttl)
	old, known := s.meta.revoked[subject]
	if known && !now.After(old.until) {
		before, until = later(before, old.before), later(until, old.until)
	}
	if !known {
		s.budget.used.Add(int64(revocationCost + len(subject.ID)))
		s.meta.revokedEnds.add(subject, until)
	}
	s.meta.revoked[subject] = revocation{before: before, until: until}
	s.meta.mu.Unlock()
	data, err := json.Marshal(bus.Revocation{Kind: subject.Kind, ID: subject.ID, Before: before})
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	_, err = s.publish(&bus.Publication{Retention: bus.RevocationLog, Message: bus.Message{
		ID: uuid.NewString(), To: bus.Revoked, Data: data, ContentType: bus.JSON, Published: now,
	}})
	return err
}

// revokesAhead is how far the times of revocations may be ahead.
const revokesAhead = time.Second

// revokes returns the time of a revocation, which is before unless that is zero. Whoever signs in right behind a revocation counts as
// signed in a moment later, which may still be to come. The next revocation is later than that, of whatever subject: so times
// rise with each one. The caller holds the lock.
func (m *meta) revokes(now, before time.Time) time.Time {
	now = now.Truncate(time.Millisecond)
	ahead := now.Add(revokesAhead)
	if before.IsZero() {
		before = later(now, earlier(m.revoking.Add(time.Millisecond), ahead))
	}
	before = before.Truncate(time.Millisecond)
	m.revoking = later(m.revoking, earlier(before, ahead))
	return before
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// RevokedBefore returns the times of the revocations. They are complete since the store was made.
func (s *Store) RevokedBefore(_ context.Context, subjects []bus.Subject) ([]time.Time, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	now := s.now()
	times := make([]time.Time, len(subjects))
	for i, subject := range subjects {
		if r, ok := s.meta.revoked[subject]; ok && !now.After(r.until) {
			times[i] = r.before
		}
		if subject.Kind == bus.SubjectLost {
			times[i] = later(times[i], s.made)
		}
	}
	return times, nil
}

// RevocationsSeen finds out whether the log has an end that somebody has seen.
func (s *Store) RevocationsSeen(ctx context.Context, at bus.Position) error {
	tops, errs := s.Tops(ctx, []bus.Address{bus.Revoked})
	if err := errors.Join(errs...); err != nil || at.Offset == 0 || tops[0].Epoch == at.Epoch && tops[0].Offset >= at.Offset {
		return err
	}
	return s.Revoke(ctx, bus.Subject{Kind: bus.SubjectLost}, time.Time{}, bus.RevocationLog.Age)
}
