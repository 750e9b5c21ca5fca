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
	if err := ctx.Err(); err != nil {
		return bus.State{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	to := change.Message.To
	if change.RequireChannel && !s.meta.hasChannel(to.WithoutTopic()) {
		return bus.State{}, bus.ErrChannelNotFound.With("", map[string]string{"address": to.String()})
	}
	now := s.now()
	stamp(&change.Message, now, change.Publication.TTL)
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	c := part.cell(to)
	if at := c.stateAt(now).Revision; at != change.Revision {
		return bus.State{}, bus.ErrRevisionMismatch.With("", map[string]string{"address": to.String(), "revision": strconv.FormatUint(at, 10)})
	}
	r, err := c.publish(&change.Publication, now, s.cfg.Keys)
	if err != nil {
		return bus.State{}, err
	}
	next := bus.State{Value: change.Value, Revision: change.Revision + 1, Updated: r.Published}
	c.state = &kept{State: next, until: now.Add(change.TTL)}
	return next, nil
}

// DeleteState removes the state of an address.
func (s *Store) DeleteState(ctx context.Context, in bus.AdmittedState) error {
	a := in.Change().Message.To
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	part := s.part(a)
	part.mu.Lock()
	defer part.mu.Unlock()
	if c := part.cells[a]; c != nil {
		c.state = nil
	}
	return nil
}
