package links

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Feed is one set of subscriptions, spread over a few connections. A single server has two, chosen by the address's hash. In a
// Cluster each master has one, chosen by the address's slot.
//
// A delivery takes the lock of its link, for the look at one channel, and that of its subscription. Nothing that goes through
// all subscriptions holds either.
type Feed struct {
	cfg      Config
	single   *redis.Client        // where there is one server
	cluster  *redis.ClusterClient // where there are several
	receiver bus.Receiver         // set by Run before there is a link

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

// New returns a feed without subscriptions.
func New(cfg Config) *Feed {
	f := &Feed{
		cfg: cfg, subs: make(map[bus.Address]*subscription), slots: make(map[uint16]*slot), links: make(map[string]*link),
		waiting: make(map[*subscription]time.Time), deaf: make(map[*subscription]time.Time), wake: make(chan struct{}, 1),
	}
	f.single, _ = cfg.Client.(*redis.Client)
	f.cluster, _ = cfg.Client.(*redis.ClusterClient)
	return f
}

// confirmed notes that a subscription is open.
func (f *Feed) confirmed(sub *subscription) {
	// Subscribe waits for the first confirmation. Later ones follow a loss.
	sub.once.Do(func() { close(sub.ready) })
	f.mu.Lock()
	defer f.mu.Unlock()
	sub.open, sub.since = true, time.Now()
	delete(f.deaf, sub)
}

// take hands on a message that came by a link. What comes by a link that is not the subscription's home any more is of the
// time before it moved, and counts as missed.
func (f *Feed) take(sub *subscription, by *link, m *bus.Message) {
	sub.turn.Lock()
	defer sub.turn.Unlock()
	if sub.home.Load() == by {
		f.receiver.Deliver(m)
	}
}

// interrupted tells of subscriptions that are open again at a link. One that has moved on since is told of by its new home.
func (f *Feed) interrupted(by *link, subs []*subscription) {
	// In one order, because several are held: two links may have a subscription in common that is just moving.
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.number, b.number) })
	addresses := make([]bus.Address, 0, len(subs))
	for _, sub := range slices.Compact(subs) {
		sub.turn.Lock()
		if sub.home.Load() != by {
			sub.turn.Unlock()
			continue
		}
		// Held until all are told: a message that comes by a new home must not overtake its interruption.
		defer sub.turn.Unlock()
		addresses = append(addresses, sub.address)
	}
	if len(addresses) > 0 {
		f.receiver.Interrupted(addresses)
	}
}

// bridges says whether a link is the one that listens to bridged channels.
func (f *Feed) bridges(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bridge == nil && len(f.cfg.Bridges) > 0 {
		f.bridge = l
	}
	return f.bridge == l
}

// bridged hands on a record of a bridged channel when its address is followed.
func (f *Feed) bridged(rule bus.BridgeRule, record []byte) {
	m, ok := rule.Map(record)
	if !ok {
		f.cfg.Log.Debug("a bridged record is for nobody", slog.String("channel", rule.Channel), slog.Int("bytes", len(record)))
		return
	}
	f.mu.Lock()
	sub := f.subs[m.To]
	f.mu.Unlock()
	if sub != nil {
		// Its home does not matter: bridged records come by one link, wherever their addresses live.
		sub.turn.Lock()
		defer sub.turn.Unlock()
		f.receiver.Deliver(m)
	}
}

// MarkOn returns the pub/sub channel on which a mark of an address comes back in its order. It belongs to the connection that
// the address is subscribed on. The second result is false when the address is not subscribed.
func (f *Feed) MarkOn(a bus.Address) (channel string, subscribed bool) {
	f.mu.Lock()
	sub := f.subs[a]
	var l *link
	if sub != nil {
		l = sub.home.Load()
	}
	f.mu.Unlock()
	if l == nil {
		return "", false
	}
	return l.probe, true
}

// marked hands a mark on: "<mark> <address>".
func (f *Feed) marked(by *link, text string) {
	mark, name, _ := strings.Cut(text, " ")
	a, err := bus.StoredAddress(name)
	if err != nil {
		// Other programs can publish on this channel too, so such a text ends nothing.
		return
	}
	f.mu.Lock()
	sub := f.subs[a]
	f.mu.Unlock()
	if sub != nil {
		f.take(sub, by, &bus.Message{ID: mark, To: a, Kind: bus.MessageMark})
	}
}
