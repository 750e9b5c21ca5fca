// Package tail follows addresses for one process: one upstream subscription an
// address, however many subscribers it has here, and a sequence that is in
// order and without holes. A push from the store is a hint that carries the
// data: a jump in the offsets, an interruption of the feed or a position that
// lags behind the log is healed by reading the log, before the next message of
// the address is handed on. What cannot be healed is told as a gap.
package tail

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// Sink takes what the followed addresses bring. Calls for one address come one at a time and
// in order. A Sink must not block and must not call the Tail.
type Sink interface {
	// Deliver hands over the next message of an address.
	Deliver(m *bus.Message)
	// Gap says that messages are missing; the next Deliver of the address comes after them.
	Gap(g bus.Gap)
}

// Interrupter is what a Sink may be besides: it hears when messages of followed addresses may have been missed. What a
// live address has missed it hears of in no other way.
type Interrupter interface {
	// Interrupted comes before the next Deliver of one of the addresses; nil means of all. It must not block.
	Interrupted(addresses []bus.Address)
}

// Store is what a Tail reads from.
type Store interface {
	bus.Feeds
	bus.Log
}

// Config tunes a Tail. The zero value means the defaults.
type Config struct {
	// Namespaces says which addresses keep a log.
	Namespaces bus.Namespaces
	// CheckInterval is how often a part of the quiet durable addresses is compared with the log; 1 s by default. It is the net
	// below the net: whatever a feed can lose it tells by Interrupted.
	CheckInterval time.Duration
	// CheckParts is how many parts there are; 1000 by default.
	CheckParts int
	// HealPage is how many messages one read of the log asks for; 256 by default.
	HealPage int
	// HoldBytes and HoldTotal are how much is held while addresses heal, for one address and for all of them; 1 MiB and
	// 64 MiB by default. What is beyond is read from the log instead.
	HoldBytes, HoldTotal int64
	// Log hears of heals that take more than one try; discarded by default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CheckInterval <= 0 {
		c.CheckInterval = time.Second
	}
	if c.CheckParts <= 0 {
		c.CheckParts = 1000
	}
	if c.HealPage <= 0 {
		c.HealPage = 256
	}
	if c.HoldBytes <= 0 {
		c.HoldBytes = 1 << 20
	}
	if c.HoldTotal <= 0 {
		c.HoldTotal = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Tail follows addresses. All methods may be called concurrently; Acquire returns only while Run runs.
type Tail struct {
	feed bus.Feed
	log  bus.Log
	sink Sink
	cfg  Config

	mu     sync.RWMutex
	topics map[bus.Address]*topic
	ring   []*topic // the durable ones, for the slow round
	at     int      // where the slow round is

	lanes   lanes
	healing healing
	hold    *budget
	reads   reads
	looks   reads // those of Recovers, which need no more than a message
}

var _ bus.Receiver = (*Tail)(nil)

// New returns a Tail that hands everything to sink.
func New(store Store, sink Sink, cfg Config) *Tail {
	cfg = cfg.withDefaults()
	return &Tail{
		feed:    store.NewFeed(),
		log:     store,
		sink:    sink,
		cfg:     cfg,
		topics:  make(map[bus.Address]*topic),
		lanes:   newLanes(),
		healing: healing{since: make(map[*topic]time.Time)},
		hold:    &budget{each: cfg.HoldBytes, total: cfg.HoldTotal},
		reads:   reads{limit: cfg.HealPage, at: make(map[place]*turn)},
		looks:   reads{limit: 1, at: make(map[place]*turn)},
	}
}

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

// Retention says what a subscriber of the address can read on from.
func (t *Tail) Retention(a bus.Address) bus.Retention { return t.cfg.Namespaces.Log(a) }

// Acquire follows the addresses and returns when everything published to them from now on will be
// handed to the sink. It returns the position of each by index, zero for a live one: the sink gets everything after it. Every
// successful Acquire is undone by one Release of the same addresses; after an error nothing is held.
func (t *Tail) Acquire(ctx context.Context, addresses ...bus.Address) ([]bus.Position, error) {
	topics := make([]*topic, len(addresses))
	var fresh []bus.Address
	t.mu.Lock()
	for i, a := range addresses {
		tp, ok := t.topics[a]
		if !ok {
			tp = t.enter(a)
		}
		tp.refs++
		if !tp.live.Load() {
			fresh = append(fresh, a)
		}
		topics[i] = tp
	}
	t.mu.Unlock()

	if err := t.open(ctx, topics, fresh); err != nil {
		t.Release(addresses...)
		return nil, err
	}
	positions := make([]bus.Position, len(topics))
	for i, tp := range topics {
		positions[i], _ = tp.position()
	}
	return positions, nil
}

// enter adds an address. The caller holds the lock.
func (t *Tail) enter(a bus.Address) *topic {
	tp := &topic{address: a, durable: t.Retention(a).Durable(), owner: t}
	t.topics[a] = tp
	if tp.durable {
		tp.place = len(t.ring)
		t.ring = append(t.ring, tp)
	}
	return tp
}

// remove takes an address out. The caller holds the lock.
func (t *Tail) remove(tp *topic) {
	tp.close()
	delete(t.topics, tp.address)
	if tp.durable {
		last := len(t.ring) - 1
		t.ring[tp.place] = t.ring[last]
		t.ring[tp.place].place = tp.place
		t.ring[last] = nil
		t.ring = t.ring[:last]
	}
}

// open subscribes upstream and learns the first positions. Two callers may open the
// same address at once: subscribing twice is the same as once, and the first position wins.
func (t *Tail) open(ctx context.Context, topics []*topic, fresh []bus.Address) error {
	if len(fresh) > 0 {
		if err := t.feed.Subscribe(ctx, fresh...); err != nil {
			return err
		}
	}
	var unknown []*topic
	for _, tp := range topics {
		tp.live.Store(true)
		if _, known := tp.position(); tp.durable && !known {
			unknown = append(unknown, tp)
		}
	}
	var failed error
	t.ask(ctx, unknown, (*topic).firstLook, func(tp *topic, l look, top bus.Position, err error) {
		if err != nil {
			failed = err
			return
		}
		t.queue(tp, tp.begin(l, top))
	})
	return failed
}

// Release ends one Acquire of each address. The last one unsubscribes upstream.
func (t *Tail) Release(addresses ...bus.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []bus.Address
	for _, a := range addresses {
		tp, ok := t.topics[a]
		if !ok {
			continue
		}
		if tp.refs--; tp.refs == 0 {
			t.remove(tp)
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
	return len(t.topics)
}

func (t *Tail) topic(a bus.Address) *topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.topics[a]
}

// Deliver takes one message from the feed.
func (t *Tail) Deliver(m *bus.Message) {
	tp := t.topic(m.To)
	if tp == nil {
		return
	}
	t.queue(tp, tp.take(m))
}

// Interrupted notes that messages of the addresses may have been missed.
func (t *Tail) Interrupted(addresses []bus.Address) {
	if s, ok := t.sink.(Interrupter); ok {
		s.Interrupted(addresses)
	}
	var doubtful []*topic
	doubt := func(tp *topic) {
		if w := tp.suspect(); w.kind == askTop {
			doubtful = append(doubtful, tp)
		} else {
			t.queue(tp, w)
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if addresses == nil {
		for _, tp := range t.topics {
			doubt(tp)
		}
	}
	for _, a := range addresses {
		if tp := t.topics[a]; tp != nil {
			doubt(tp)
		}
	}
	t.lanes.tops.push(0, doubtful...) // together, so that they are asked about together
}
