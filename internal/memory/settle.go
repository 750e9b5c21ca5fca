package memory

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// dueList is the messages whose time may have come, each with the moment to look at it.
type dueList struct {
	mu    sync.Mutex
	times map[bus.Due]time.Time
}

func (d *dueList) set(due bus.Due, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.times == nil {
		d.times = make(map[bus.Due]time.Time)
	}
	if at.IsZero() {
		delete(d.times, due)
		return
	}
	d.times[due] = at
}

// lent is for how long DueDeliveries lends a message.
const lent = 10 * time.Second

// DueDeliveries lends out messages whose time may have come.
func (s *Store) DueDeliveries(ctx context.Context, limit int) ([]bus.Due, error) {
	if err := ctx.Err(); err != nil {
		return nil, bus.ErrStoreUnavailable.Wrap(err)
	}
	now := s.now()
	s.due.mu.Lock()
	defer s.due.mu.Unlock()
	var due []bus.Due
	for d, at := range s.due.times {
		if len(due) < limit && !now.Before(at) {
			s.due.times[d] = now.Add(lent)
			due = append(due, d)
		}
	}
	return due, nil
}

// Settle looks at one message, and notes when to look again.
func (s *Store) Settle(ctx context.Context, d bus.Due) (bus.Settlement, error) {
	if err := ctx.Err(); err != nil {
		return bus.Settlement{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	var out bus.Settlement
	s.with(d.To, func(c *cell, in *inbox, now time.Time) {
		w := in.deliveries[d.ID]
		if w == nil || !w.delivery.Ended.IsZero() {
			return
		}
		switch {
		case !now.Before(w.delivery.Expires):
			in.end(w, now, bus.EndTTL)
			out.Changed = bus.StateExpired
		case !now.Before(w.delivery.Deadline):
			out.Next = w.delivery.Expires
			if st := w.delivery.State(now); !w.stored && (st == bus.StateStored || st == bus.StateDenied) {
				w.stored = true
				out.Changed = bus.StateStored
			}
		default:
			out.Next = w.delivery.Deadline
		}
		if out.Changed != 0 {
			c.changed(w, now)
		}
	})
	s.due.set(d, out.Next)
	return out, nil
}

// Discard removes a message for a reason.
func (s *Store) Discard(ctx context.Context, to bus.Address, id string, why bus.EndReason) error {
	err := notFound(to, id)
	s.with(to, func(c *cell, in *inbox, now time.Time) {
		if w := in.deliveries[id]; w != nil && w.delivery.Ended.IsZero() {
			in.end(w, now, why)
			c.changed(w, now)
			err = nil
		}
	})
	return err
}
