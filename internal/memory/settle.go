package memory

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// dueList is the messages whose time may have come, each with the moment to look at it.
type dueList struct {
	mu    sync.Mutex
	times map[bus.Due]*dueTime
	order dueOrder
}

type dueTime struct {
	due   bus.Due
	at    time.Time
	place int // in the order
}

// dueOrder is a heap.
type dueOrder []*dueTime

func (o dueOrder) Len() int           { return len(o) }
func (o dueOrder) Less(i, j int) bool { return o[i].at.Before(o[j].at) }
func (o dueOrder) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

// Push is heap.Interface.
func (o *dueOrder) Push(x any) {
	t, _ := x.(*dueTime)
	t.place = len(*o)
	*o = append(*o, t)
}

// Pop is heap.Interface.
func (o *dueOrder) Pop() any {
	last := len(*o) - 1
	t := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return t
}

// set notes when to look at a message; never, when the time is zero.
func (d *dueList) set(due bus.Due, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.times == nil {
		d.times = make(map[bus.Due]*dueTime)
	}
	t := d.times[due]
	switch {
	case at.IsZero() && t != nil:
		heap.Remove(&d.order, t.place)
		delete(d.times, due)
	case at.IsZero():
	case t != nil:
		t.at = at
		heap.Fix(&d.order, t.place)
	default:
		t = &dueTime{due: due, at: at}
		d.times[due] = t
		heap.Push(&d.order, t)
	}
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
	for len(due) < limit && len(s.due.order) > 0 && !now.Before(s.due.order[0].at) {
		t := s.due.order[0]
		t.at = now.Add(lent)
		heap.Fix(&s.due.order, 0)
		due = append(due, t.due)
	}
	return due, nil
}

// DueStats says how much there is to settle.
func (s *Store) DueStats(ctx context.Context) (bus.DueStats, error) {
	if err := ctx.Err(); err != nil {
		return bus.DueStats{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	s.due.mu.Lock()
	defer s.due.mu.Unlock()
	stats := bus.DueStats{Count: len(s.due.order)}
	if stats.Count > 0 {
		stats.Late = max(s.now().Sub(s.due.order[0].at), 0)
	}
	return stats, nil
}

// Judge says what Settle would do to messages now.
func (s *Store) Judge(ctx context.Context, due []bus.Due) ([]bus.Verdict, []error) {
	out, errs := make([]bus.Verdict, len(due)), make([]error, len(due))
	for i, d := range due {
		if err := ctx.Err(); err != nil {
			errs[i] = bus.ErrStoreUnavailable.Wrap(err)
			continue
		}
		s.with(d.To, func(_ *cell, in *inbox, now time.Time) {
			out[i] = bus.Verdict{Due: d, At: now}
			if w := in.deliveries[d.ID]; w != nil {
				out[i] = w.delivery.Judge(now, w.stored)
			}
		})
	}
	return out, errs
}

// SettleAll carries out verdicts, and notes when to look again.
func (s *Store) SettleAll(ctx context.Context, list []bus.Verdict) ([]bus.Settlement, []error) {
	out, errs := make([]bus.Settlement, len(list)), make([]error, len(list))
	for i, v := range list {
		if err := ctx.Err(); err != nil {
			errs[i] = bus.ErrStoreUnavailable.Wrap(err)
			continue
		}
		s.with(v.To, func(c *cell, in *inbox, now time.Time) {
			if !v.At.IsZero() && v.At.Before(now) {
				now = v.At
			}
			if w := in.deliveries[v.ID]; w != nil {
				out[i] = in.settle(w, now)
				if out[i].Changed != 0 {
					c.changed(w, now)
				}
			}
			s.due.set(v.Due, out[i].Next) // under the lock, so that an ack that ends it is not undone
		})
	}
	return out, errs
}

// settle notes that a message is stored, or takes out one whose end has come.
func (in *inbox) settle(w *waiting, now time.Time) bus.Settlement {
	v := w.delivery.Judge(now, w.stored)
	w.stored = w.stored || v.Changed == bus.StateStored
	if !now.Before(w.delivery.Expires) {
		in.end(w, now, bus.EndTTL)
	}
	return bus.Settlement{Changed: v.Changed, Next: v.Next}
}

// Settle judges one message and carries that out.
func (s *Store) Settle(ctx context.Context, d bus.Due) (bus.Settlement, error) {
	out, errs := s.SettleAll(ctx, []bus.Verdict{{Due: d}})
	return out[0], errs[0]
}

// Discard removes a message for a reason.
func (s *Store) Discard(ctx context.Context, to bus.Address, id string, why bus.EndReason) error {
	err := notFound(to, id)
	s.with(to, func(c *cell, in *inbox, now time.Time) {
		if w := in.deliveries[id]; w != nil && w.waits() {
			in.end(w, now, why)
			s.due.set(bus.Due{To: to, ID: id}, now) // its end is told at the next look
			c.changed(w, now)
			err = nil
		}
	})
	return err
}
