package fan

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/tail"
)

// mark is a place in the stream of an address that a subscription waits for.
type mark struct {
	id      string
	reached chan struct{} // closed when it has come
}

// Retained returns what the address of a subscription that holds retains; nil when there is nothing, or it comes anyway.
func (s *Subscription) Retained(ctx context.Context, t *tail.Tail) (*bus.Message, error) {
	mark := s.expect()
	last, err := t.Retained(ctx, s.address, mark.id)
	if err != nil || last.Message == nil {
		return nil, err
	}
	m := *last.Message
	m.Redelivered = true
	if !m.Position.IsZero() { // of a log: it comes if it is after the place where the subscription begins
		if s.comes(m.Position) {
			return nil, nil
		}
		return &m, nil
	}
	select {
	case <-mark.reached: // everything before the reading has come
	case <-ctx.Done():
		return nil, bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
	if s.holds(last) {
		return nil, nil
	}
	return &m, nil
}

// expect makes the subscription wait for a mark of its own, and returns it.
func (s *Subscription) expect() *mark {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	s.mark = &mark{id: uuid.NewString(), reached: make(chan struct{})}
	return s.mark
}

// reach notes that a mark has come. The caller holds the lock.
func (s *Subscription) reach(id string) {
	if s.mark != nil && id == s.mark.id {
		close(s.mark.reached)
		s.mark = nil
	}
}

// holds says whether the message is among what is held, and so comes anyway.
func (s *Subscription) holds(last bus.Last) bool {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	return slices.ContainsFunc(s.held, func(p *parcel) bool { return last.Is(p.m) })
}

// comes says whether a message of the log comes to a subscription that holds. Of another epoch that cannot be said: then the
// message is left out when it comes.
func (s *Subscription) comes(p bus.Position) bool {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	at := s.line.At()
	if p.Epoch != at.Epoch {
		s.line.Given(p)
		return false
	}
	return p.Offset > at.Offset
}
