package links

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// Subscribe asks for addresses and waits until Redis has confirmed all of them.
func (f *Feed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	wait := make([]*subscription, 0, len(addresses))
	for _, a := range addresses {
		sub, placed := f.enter(a)
		if !placed {
			f.place(ctx, sub)
		}
		wait = append(wait, sub)
	}
	// All are asked for before the first is waited for, so that they share commands.
	for _, sub := range wait {
		select {
		case <-sub.ready:
		case <-sub.left:
			return bus.ErrStoreUnavailable.With("the subscription was ended before it was confirmed", map[string]string{"address": sub.address.String()})
		case <-ctx.Done():
			return bus.ErrStoreUnavailable.Wrap(fmt.Errorf("subscribe: %w", ctx.Err()))
		}
	}
	return nil
}

// enter returns the subscription of an address; placed is false when it is new and a link has to be found for it now.
func (f *Feed) enter(a bus.Address) (sub *subscription, placed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sub := f.subs[a]; sub != nil {
		return sub, true
	}
	f.begun++
	a = a.Clone() // it may be a part of a whole frame
	sub = &subscription{
		address: a, number: f.begun, channel: f.cfg.Channel(a), alias: f.cfg.Alias(a),
		ready: make(chan struct{}), left: make(chan struct{}),
	}
	f.subs[a] = sub
	if f.cluster != nil {
		f.slotOf(sub).members[sub] = struct{}{}
	}
	// Before Run there is no link to find. It places what it finds here.
	return sub, f.begin == nil
}

// Unsubscribe leaves addresses.
func (f *Feed) Unsubscribe(addresses ...bus.Address) {
	for _, a := range addresses {
		f.unsubscribe(a)
	}
}

func (f *Feed) unsubscribe(a bus.Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub := f.subs[a]
	if sub == nil {
		return
	}
	delete(f.subs, a)
	delete(f.waiting, sub)
	delete(f.deaf, sub)
	if s := f.slots[sub.slot]; s != nil {
		if delete(s.members, sub); len(s.members) == 0 {
			delete(f.slots, sub.slot)
		}
	}
	// Another caller may still wait for the confirmation, which does not come any more.
	close(sub.left)
	if l := sub.home.Load(); l != nil {
		l.leave(sub)
	}
}

// Run reads all links until ctx ends.
func (f *Feed) Run(ctx context.Context, r bus.Receiver) error {
	g, ctx := errgroup.WithContext(ctx)
	f.mu.Lock()
	f.receiver = r
	f.begin = func(l *link) { g.Go(func() error { return l.run(ctx) }) }
	if f.cluster == nil {
		for i := range singleLinks {
			f.link(fmt.Sprint(i), f.single)
		}
	}
	// Listed under the lock that sets begin: what enters later is placed by its own caller.
	subs := make([]*subscription, 0, len(f.subs))
	for _, sub := range f.subs {
		subs = append(subs, sub)
	}
	f.mu.Unlock()
	for _, sub := range subs {
		f.place(ctx, sub)
	}
	if f.cluster != nil {
		g.Go(func() error { return f.followSlots(ctx) })
	}
	g.Go(func() error { return f.placeLoop(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		f.mu.Lock()
		f.begin = nil // before the group is waited for: nobody adds to it from now on
		f.mu.Unlock()
		return nil
	})
	err := g.Wait()
	f.rest()
	return err
}

// rest forgets the links, so that Run begins with new ones.
func (f *Feed) rest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links, f.bridge = make(map[string]*link), nil
	clear(f.waiting)
	clear(f.deaf)
	for _, sub := range f.subs {
		sub.home.Store(nil)
		sub.on.Store(false)
	}
	for _, s := range f.slots {
		s.home, s.mixed = "", false
	}
}

// Ready returns nil when every link has heard itself lately, and nothing that was followed stays without a subscription.
func (f *Feed) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begin == nil || len(f.links) == 0 {
		return bus.ErrStoreUnavailable.With("the subscriptions are not connected yet", nil)
	}
	for _, l := range f.links {
		if err := l.ready(); err != nil {
			return err
		}
	}
	for sub, since := range f.deaf {
		// A slot that moves takes a moment, and that is no reason to turn readiness red.
		if time.Since(since) > probeWithin {
			return bus.ErrStoreUnavailable.With("addresses that are followed cannot be subscribed",
				map[string]string{"address": sub.address.String(), "addresses": fmt.Sprint(len(f.deaf))})
		}
	}
	return nil
}
