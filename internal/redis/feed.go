package redis

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// feed is one set of subscriptions, spread over a few connections: two of a single server, chosen by the
// address's hash; in a Cluster one to each master, chosen by the address's slot.
type feed struct {
	store *Store

	mu    sync.Mutex
	subs  map[bus.Address]*subscription
	links map[string]*link
	begin func(*link) // starts a link; nil until Run

	deliver  sync.Mutex // the receiver gets one call at a time
	receiver bus.Receiver
}

// subscription is one address of a feed.
type subscription struct {
	address bus.Address
	link    *link
	ready   chan struct{} // closed at the first confirmation
	once    sync.Once
	left    chan struct{} // closed by Unsubscribe
}

var _ bus.Feed = (*feed)(nil)

// NewFeed returns a feed without subscriptions.
func (s *Store) NewFeed() bus.Feed {
	return &feed{store: s, subs: make(map[bus.Address]*subscription), links: make(map[string]*link)}
}

// links of a single server.
const singleLinks = 2

// Subscribe asks for addresses and waits until Redis has confirmed all of them.
func (f *feed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	wait := make([]*subscription, len(addresses))
	f.mu.Lock()
	for i, a := range addresses {
		sub := f.subs[a]
		if sub == nil {
			sub = &subscription{address: a, ready: make(chan struct{}), left: make(chan struct{})}
			f.subs[a] = sub
			if f.begin != nil {
				f.place(ctx, sub)
			}
		}
		wait[i] = sub
	}
	f.mu.Unlock()
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

// place gives a subscription to the link that it belongs to. The caller holds the lock.
func (f *feed) place(ctx context.Context, sub *subscription) {
	name, client := f.target(ctx, sub.address)
	if client == nil {
		return // the cluster is not known yet; the next check places it
	}
	l := f.link(name, client)
	sub.link = l
	l.ask(true, f.channels(sub.address)...)
}

// channels returns the pub/sub channels of an address: its own, and that of its second name.
func (f *feed) channels(a bus.Address) []string {
	own := f.store.keys.push(a)
	if name := f.store.secondName(a); name != "" {
		return []string{own, name}
	}
	return []string{own}
}

// target names the link of an address.
func (f *feed) target(ctx context.Context, a bus.Address) (string, *redis.Client) {
	if f.store.cluster == nil {
		h := fnv.New32a()
		_, _ = h.Write([]byte(a.String())) // a hash never fails
		client, _ := f.store.client.(*redis.Client)
		return fmt.Sprintf("%d", h.Sum32()%singleLinks), client
	}
	client, err := f.store.cluster.MasterForKey(ctx, f.store.keys.push(a))
	if err != nil {
		return "", nil
	}
	return client.Options().Addr, client
}

// link returns the link of that name, starting it when it is new. The caller holds the lock.
func (f *feed) link(name string, client *redis.Client) *link {
	l := f.links[name]
	if l == nil {
		l = newLink(f, name, client)
		f.links[name] = l
		f.begin(l)
	}
	return l
}

// Unsubscribe leaves addresses.
func (f *feed) Unsubscribe(addresses ...bus.Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addresses {
		sub := f.subs[a]
		if sub == nil {
			continue
		}
		delete(f.subs, a)
		close(sub.left)
		if sub.link != nil {
			sub.link.ask(false, f.channels(a)...)
		}
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
			f.link(fmt.Sprintf("%d", i), client)
		}
	}
	for _, sub := range f.subs {
		f.place(ctx, sub)
	}
	f.mu.Unlock()
	if f.store.cluster != nil {
		g.Go(func() error { return f.followSlots(ctx) })
	} else {
		g.Go(func() error { <-ctx.Done(); return nil })
	}
	err := g.Wait()
	f.mu.Lock()
	f.begin = nil
	f.links = make(map[string]*link)
	f.mu.Unlock()
	return err
}

// slotCheck is how often the places of addresses in a Cluster are compared with its slots.
const slotCheck = time.Second

// followSlots moves subscriptions whose slot has moved, and keeps a link to every master.
func (f *feed) followSlots(ctx context.Context) error {
	ticker := time.NewTicker(slotCheck)
	defer ticker.Stop()
	for {
		f.checkSlots(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			f.store.cluster.ReloadState(ctx)
		}
	}
}

func (f *feed) checkSlots(ctx context.Context) {
	var mu sync.Mutex
	masters := make(map[string]*redis.Client)
	err := f.store.cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters[c.Options().Addr] = c
		return nil
	})
	if err != nil || ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, client := range masters {
		f.link(name, client)
	}
	for _, sub := range f.subs {
		name, client := f.target(ctx, sub.address)
		if client == nil || sub.link != nil && sub.link.name == name {
			continue
		}
		if sub.link != nil {
			sub.link.ask(false, f.store.keys.push(sub.address))
		}
		l := f.link(name, client)
		sub.link = l
		l.askMoved(f.store.keys.push(sub.address))
	}
	for name, l := range f.links {
		if masters[name] == nil {
			l.retire()
			delete(f.links, name)
		}
	}
}

// Ready returns nil when every link has heard itself lately.
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
	return nil
}

// sub returns the subscription of a pub/sub channel, nil when nobody follows it on the link, and whether the channel is that
// of a second name.
func (f *feed) sub(channel string) (sub *subscription, second bool) {
	a, ok := f.store.keys.address(channel)
	if !ok && f.store.cfg.Names != nil {
		a, second = f.store.cfg.Names.Address(channel)
		ok = second
	}
	if !ok {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subs[a], second
}

func (f *feed) take(m *bus.Message) {
	f.deliver.Lock()
	defer f.deliver.Unlock()
	f.receiver.Deliver(m)
}

func (f *feed) interrupted(addresses []bus.Address) {
	if len(addresses) == 0 {
		return
	}
	f.deliver.Lock()
	defer f.deliver.Unlock()
	f.receiver.Interrupted(addresses)
}

// bridged hands on a record of a bridged channel when its address is followed.
func (f *feed) bridged(rule bus.BridgeRule, record string) {
	m, ok := rule.Map([]byte(record))
	if !ok {
		f.store.log.Debug("a bridged record is for nobody", slog.String("channel", rule.Channel), slog.Int("bytes", len(record)))
		return
	}
	f.mu.Lock()
	_, followed := f.subs[m.To]
	f.mu.Unlock()
	if followed {
		f.take(m)
	}
}

// pause waits between tries: full jitter up to 2 s.
func pause(ctx context.Context, try int) {
	timer := time.NewTimer(rand.N(min(50*time.Millisecond<<min(try, 6), 2*time.Second))) //nolint:gosec // jitter, not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
