package memory

import (
	"bytes"
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
		c.setState(nil)
		return bus.State{}
	}
	return c.state.State
}

// setState replaces the state; nil for none.
func (c *cell) setState(next *kept) {
	if c.state != nil {
		c.bytes -= stateCost + len(c.state.Value)
	}
	if c.state = next; next != nil {
		c.bytes += stateCost + len(next.Value)
	}
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
		defer s.counted(c)
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
	if part.cells[to] == nil {
		if err := s.budget.full(); err != nil {
			return bus.State{}, err
		}
	}
	c := s.cell(part, to)
	defer s.counted(c)
	if first, ok, err := c.repeatedState(&change.Publication, now); ok || err != nil {
		return first, err // before the revision, which the change itself has raised
	}
	if at := c.stateAt(now).Revision; at != change.Revision {
		return bus.State{}, bus.ErrRevisionMismatch.With("", map[string]string{"address": to.String(), "revision": strconv.FormatUint(at, 10)})
	}
	change.Publication = change.Clone()
	r, err := c.publish(&change.Publication, now, s.cfg.Keys, s.budget.full())
	if err != nil {
		return bus.State{}, err
	}
	next := bus.State{Value: bytes.Clone(change.Value), Revision: change.Revision + 1, Updated: r.Published}
	c.setState(&kept{State: next, until: now.Add(change.TTL)})
	if change.IdempotencyKey != "" {
		k := keyOf(&change.Publication)
		first := c.keys[k]
		first.state = &next
		c.keys[k] = first
		c.bytes += stateCost + len(next.Value)
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
		c.setState(nil)
		s.counted(c)
	}
	return nil
}
