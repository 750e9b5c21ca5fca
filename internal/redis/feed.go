package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// feed is one set of subscriptions, spread over a few connections: two of a single server, chosen by the
// address's hash; in a Cluster one to each master, chosen by the address's slot.
//
// A delivery takes the lock of its link, for the look at one channel, and that of its subscription. Nothing that goes through
// all subscriptions holds either.
type feed struct {
	store    *Store
	receiver bus.Receiver // set by Run before there is a link

	mu      sync.Mutex // never held while Redis, the state of the cluster or the receiver is asked
	subs    map[bus.Address]*subscription
	slots   map[uint16]*slot // in a Cluster
	links   map[string]*link
	bridge  *link       // listens to bridged channels; the first that asks
	begin   func(*link) // starts a link; nil until Run
	waiting map[*subscription]time.Time
	deaf    map[*subscription]time.Time
	wake    chan struct{} // something waits
	begun   uint64        // subscriptions so far
}

// subscription is one address of a feed.
type subscription struct {
	address bus.Address
	number  uint64 // in the order of their beginning
	channel string
	second  string // the channel of its second name; empty when it has none
	slot    uint16
	ready   chan struct{} // closed at the first confirmation
	once    sync.Once
	left    chan struct{} // closed by Unsubscribe

	home atomic.Pointer[link]
	ever atomic.Bool // it was open once: what does not come from then on is missed
	on   atomic.Bool // it is open at its home

	// turn is held while the receiver is called, so that an address that moves is never told of by two links at once.
	turn sync.Mutex

	// Guarded by the feed's lock.
	open  bool      // it was confirmed last, and not ended or refused
	since time.Time // when it was confirmed
	tries int       // to place it anew, since it was open for a while
	hint  string    // the node that it was said to live at
}

var _ bus.Feed = (*feed)(nil)

// NewFeed returns a feed without subscriptions.
func (s *Store) NewFeed() bus.Feed {
	return &feed{
		store: s, subs: make(map[bus.Address]*subscription), slots: make(map[uint16]*slot), links: make(map[string]*link),
		waiting: make(map[*subscription]time.Time), deaf: make(map[*subscription]time.Time), wake: make(chan struct{}, 1),
	}
}

// channels returns the pub/sub channels of a subscription.
func (s *subscription) channels() []string {
	if s.second == "" {
		return []string{s.channel}
	}
	return []string{s.channel, s.second}
}

// links of a single server.
const singleLinks = 2

// Subscribe asks for addresses and waits until Redis has confirmed all of them.
func (f *feed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	wait := make([]*subscription, 0, len(addresses))
	for _, a := range addresses {
		sub, placed := f.enter(a)
		if !placed {
			f.place(ctx, sub)
		}
		wait = append(wait, sub)
	}
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
func (f *feed) enter(a bus.Address) (sub *subscription, placed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sub := f.subs[a]; sub != nil {
		return sub, true
	}
	f.begun++
	sub = &subscription{
		address: a, number: f.begun, channel: f.store.keys.push(a), second: f.store.secondName(a),
		ready: make(chan struct{}), left: make(chan struct{}),
	}
	f.subs[a] = sub
	if f.store.cluster != nil {
		f.slotOf(sub).members[sub] = struct{}{}
	}
	return sub, f.begin == nil
}

// Unsubscribe leaves addresses.
func (f *feed) Unsubscribe(addresses ...bus.Address) {
	for _, a := range addresses {
		f.unsubscribe(a)
	}
}

func (f *feed) unsubscribe(a bus.Address) {
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
	close(sub.left)
	if l := sub.home.Load(); l != nil {
		l.leave(sub)
	}
}

// Run reads all links until ctx ends.
func (f *feed) Run(ctx context.Context, r bus.Receiver) error {
	g, ctx := errgroup.WithContext(ctx)
	f.mu.Lock()
	f.receiver = r
	f.begin = func(l *link) { g.Go(func() error { return l.run(ctx) }) }
	if f.store.cluster == nil {
		client, _ := f.store.client.(*redis.Client)
		for i := range singleLinks {
			f.link(fmt.Sprint(i), client)
		}
	}
	subs := make([]*subscription, 0, len(f.subs))
	for _, sub := range f.subs {
		subs = append(subs, sub)
	}
	f.mu.Unlock()
	for _, sub := range subs {
		f.place(ctx, sub)
	}
	if f.store.cluster != nil {
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
func (f *feed) rest() {
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
func (f *feed) Ready() error {
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
		if time.Since(since) > probeWithin {
			return bus.ErrStoreUnavailable.With("addresses that are followed cannot be subscribed",
				map[string]string{"address": sub.address.String(), "addresses": fmt.Sprint(len(f.deaf))})
		}
	}
	return nil
}

// confirmed notes that a subscription is open.
func (f *feed) confirmed(sub *subscription) {
	sub.once.Do(func() { close(sub.ready) })
	f.mu.Lock()
	defer f.mu.Unlock()
	sub.open, sub.since = true, time.Now()
	delete(f.deaf, sub)
}

// take hands on a message that came by a link. What comes by a link that is not the subscription's home any more is of the
// time before it moved, and counts as missed.
func (f *feed) take(sub *subscription, by *link, m *bus.Message) {
	sub.turn.Lock()
	defer sub.turn.Unlock()
	if sub.home.Load() == by {
		f.receiver.Deliver(m)
	}
}

// interrupted tells of subscriptions that are open again at a link. One that has moved on since is told of by its new home.
func (f *feed) interrupted(by *link, subs []*subscription) {
	// In one order, because several are held: two links may have a subscription in common that is just moving.
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.number, b.number) })
	addresses := make([]bus.Address, 0, len(subs))
	for _, sub := range slices.Compact(subs) {
		sub.turn.Lock()
		if sub.home.Load() != by {
			sub.turn.Unlock()
			continue
		}
		defer sub.turn.Unlock()
		addresses = append(addresses, sub.address)
	}
	if len(addresses) > 0 {
		f.receiver.Interrupted(addresses)
	}
}

// bridges says whether a link is the one that listens to bridged channels.
func (f *feed) bridges(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bridge == nil && len(f.store.cfg.Bridges) > 0 {
		f.bridge = l
	}
	return f.bridge == l
}

// bridged hands on a record of a bridged channel when its address is followed.
func (f *feed) bridged(rule bus.BridgeRule, record []byte) {
	m, ok := rule.Map(record)
	if !ok {
		f.store.log.Debug("a bridged record is for nobody", slog.String("channel", rule.Channel), slog.Int("bytes", len(record)))
		return
	}
	f.mu.Lock()
	sub := f.subs[m.To]
	f.mu.Unlock()
	if sub != nil {
		sub.turn.Lock()
		defer sub.turn.Unlock()
		f.receiver.Deliver(m)
	}
}

// pause waits between tries: full jitter up to 2 s.
func pause(ctx context.Context, try int) {
	timer := time.NewTimer(backoff(try))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func backoff(try int) time.Duration {
	return rand.N(min(50*time.Millisecond<<min(try, 6), 2*time.Second)) //nolint:gosec // jitter, not a secret
}
