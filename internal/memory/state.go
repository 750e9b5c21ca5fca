package memory

import (
	"context"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// kept is the state of one address.
type kept struct {
	bus.State
	until time.Time
}

// stateAt returns the state; the zero State when there is none any more. The caller holds the part's lock.
func (c *cell) stateAt(now time.Time) bus.State {
	if c.state == nil || now.After(c.state.until) {
		c.state = nil
		return bus.State{}
	}
	return c.state.State
}

// State returns the state of an address.
func (s *Store) State(ctx context.Context, a bus.Address) (bus.State, error) {
	if err := ctx.Err(); err != nil {
		return bus.State{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	part := s.part(a)
	part.mu.Lock()
	defer part.mu.Unlock()
	if c := part.cells[a]; c != nil {
		return c.stateAt(s.now()), nil
	}
	return bus.State{}, nil
}

// SetState writes the next revision of a state and publishes its message.
func (s *Store) SetState(ctx context.Context, in bus.AdmittedState) (bus.State, error) {
	change := in.Change()
	to := change.Message.To
	if err := s.mayChange(ctx, &change.Publication); err != nil {
		return bus.State{}, err
	}
	now := s.now()
	stamp(&change.Message, now, change.Publication.TTL)
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	c := part.cell(to)
	if first, ok, err := c.repeatedState(&change.Publication, now); ok || err != nil {
		return first, err // before the revision, which the change itself has raised
	}
	if at := c.stateAt(now).Revision; at != change.Revision {
		return bus.State{}, bus.ErrRevisionMismatch.With("", map[string]string{"address": to.String(), "revision": strconv.FormatUint(at, 10)})
	}
	r, err := c.publish(&change.Publication, now, s.cfg.Keys)
	if err != nil {
		return bus.State{}, err
	}
	next := bus.State{Value: change.Value, Revision: change.Revision + 1, Updated: r.Published}
	c.state = &kept{State: next, until: now.Add(change.TTL)}
	if change.IdempotencyKey != "" {
		first := c.keys[keyOf(&change.Publication)]
		first.state = &next
		c.keys[keyOf(&change.Publication)] = first
	}
	return next, nil
}

// mayChange says what is wrong with a change of a state before the state is looked at.
func (s *Store) mayChange(ctx context.Context, p *bus.Publication) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	return s.takes(p)
}

// repeatedState returns the first answer to a change with the same key; false when there is none.
func (c *cell) repeatedState(p *bus.Publication, now time.Time) (bus.State, bool, error) {
	if p.IdempotencyKey == "" {
		return bus.State{}, false, nil
	}
	_, ok, err := c.repeat(p, now)
	if !ok || err != nil {
		return bus.State{}, false, err
	}
	first := c.keys[keyOf(p)].state
	if first == nil { // the key of a message
		return bus.State{}, false, bus.ErrIdempotencyMismatch.With("", map[string]string{"idempotencyKey": p.IdempotencyKey})
	}
	return *first, true, nil
}

// DeleteState removes the state of an address.
func (s *Store) DeleteState(ctx context.Context, in bus.AdmittedState) error {
	p := in.Change().Publication
	if err := s.mayChange(ctx, &p); err != nil {
		return err
	}
	part := s.part(p.Message.To)
	part.mu.Lock()
	defer part.mu.Unlock()
	if c := part.cells[p.Message.To]; c != nil {
		c.state = nil
	}
	return nil
}
