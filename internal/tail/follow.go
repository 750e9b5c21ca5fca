package tail

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

var _ bus.Receiver = (*Tail)(nil)

// Run reads the feed, heals and checks until ctx ends, and then returns nil.
func (t *Tail) Run(ctx context.Context) error {
	defer t.reads.wait()
	defer t.looks.wait()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.feed.Run(ctx, t) })
	for _, l := range []*lane{t.lanes.reads, t.lanes.rereads} {
		g.Go(func() error { l.serve(ctx, t.heal); return nil })
	}
	for _, l := range []*lane{t.lanes.tops, t.lanes.retops} {
		g.Go(func() error { l.serve(ctx, t.locate); return nil })
	}
	g.Go(func() error { return t.checkLoop(ctx) })
	return g.Wait()
}

// Ready returns nil while messages are known to come through, and otherwise says why not.
func (t *Tail) Ready() error { return t.feed.Ready() }

// Acquire follows the addresses and returns when everything published to them from now on will be
// handed to the sink. It returns the position of each by index, zero for a live one: the sink gets everything after it. Every
// successful Acquire is undone by one Release of the same addresses; after an error nothing is held.
func (t *Tail) Acquire(ctx context.Context, addresses ...bus.Address) ([]bus.Position, error) {
	list := make([]*followed, len(addresses))
	var fresh []bus.Address
	t.mu.Lock()
	for i, a := range addresses {
		f, ok := t.followed[a]
		if !ok {
			f = t.enter(a)
		}
		f.refs++
		// Another caller may be subscribing it this moment. To subscribe twice is the same as once.
		if !f.live.Load() {
			fresh = append(fresh, a)
		}
		list[i] = f
	}
	t.mu.Unlock()

	if err := t.open(ctx, list, fresh); err != nil {
		t.Release(addresses...)
		return nil, err
	}
	positions := make([]bus.Position, len(list))
	for i, f := range list {
		positions[i], _ = f.position()
	}
	return positions, nil
}

// enter adds an address. The caller holds the lock.
func (t *Tail) enter(a bus.Address) *followed {
	a = a.Clone() // it may be a part of a whole frame
	f := &followed{address: a, durable: t.Retention(a).Durable(), common: &t.common}
	t.followed[a] = f
	if f.durable {
		f.place = len(t.ring)
		t.ring = append(t.ring, f)
	}
	return f
}

// remove takes an address out. The caller holds the lock.
func (t *Tail) remove(f *followed) {
	f.close()
	delete(t.followed, f.address)
	if f.durable {
		last := len(t.ring) - 1
		t.ring[f.place] = t.ring[last]
		t.ring[f.place].place = f.place
		t.ring[last] = nil
		t.ring = t.ring[:last]
	}
}

// open subscribes upstream and learns the first positions. Two callers may open the
// same address at once: subscribing twice is the same as once, and the first position wins.
func (t *Tail) open(ctx context.Context, list []*followed, fresh []bus.Address) error {
	if len(fresh) > 0 {
		if err := t.feed.Subscribe(ctx, fresh...); err != nil {
			return err
		}
	}
	var unknown []*followed
	for _, f := range list {
		// Pushes come from here on. Until the first position is known they are held.
		f.live.Store(true)
		if _, known := f.position(); f.durable && !known {
			unknown = append(unknown, f)
		}
	}
	var failed error
	t.ask(ctx, unknown, (*followed).firstLook, func(f *followed, l look, top bus.Position, err error) {
		if err != nil {
			failed = err
			return
		}
		t.lanes.queue(f, f.begin(l, top))
	})
	return failed
}

// Release ends one Acquire of each address. The last one unsubscribes upstream.
func (t *Tail) Release(addresses ...bus.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []bus.Address
	for _, a := range addresses {
		f, ok := t.followed[a]
		if !ok {
			continue
		}
		if f.refs--; f.refs == 0 {
			t.remove(f)
			gone = append(gone, a)
		}
	}
	if len(gone) > 0 {
		// Under the lock, so that a later Acquire subscribes after this and not before.
		t.feed.Unsubscribe(gone...)
	}
}

// Retained reads the last message that an address retains, which must be followed. The sink is given the mark
// (bus.MessageMark) between what was published before and after.
func (t *Tail) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	return t.feed.Retained(ctx, a, mark)
}

// Followed returns how many addresses are followed.
func (t *Tail) Followed() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.followed)
}

func (t *Tail) of(a bus.Address) *followed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.followed[a]
}

// Deliver takes one message from the feed.
func (t *Tail) Deliver(m *bus.Message) {
	f := t.of(m.To)
	if f == nil {
		return
	}
	t.lanes.queue(f, f.take(m))
}

// Interrupted notes that messages of the addresses may have been missed.
func (t *Tail) Interrupted(addresses []bus.Address) {
	if s, ok := t.common.sink.(Interrupter); ok {
		// Before anything heals: nobody else says what a live address has missed.
		s.Interrupted(addresses)
	}
	var doubtful []*followed
	doubt := func(f *followed) {
		if w := f.suspect(); w.kind == askTop {
			doubtful = append(doubtful, f)
		} else {
			t.lanes.queue(f, w)
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if addresses == nil {
		for _, f := range t.followed {
			doubt(f)
		}
	}
	for _, a := range addresses {
		if f := t.followed[a]; f != nil {
			doubt(f)
		}
	}
	t.lanes.tops.push(0, doubtful...) // together, so that they are asked about together
}
