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
	// CheckInterval is how often the positions of quiet durable addresses are compared with
	// the log; 3 s by default, so that a silent subscription is healed within 5 s.
	CheckInterval time.Duration
	// HealPage is how many messages one read of the log asks for; 256 by default.
	HealPage int
	// HoldLimit is how many messages of one address are held while it heals; 1024 by default.
	// What is beyond is read from the log instead.
	HoldLimit int
	// Log hears of heals that take more than one try; discarded by default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CheckInterval <= 0 {
		c.CheckInterval = 3 * time.Second
	}
	if c.HealPage <= 0 {
		c.HealPage = 256
	}
	if c.HoldLimit <= 0 {
		c.HoldLimit = 1024
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

	jobs  *jobs
	reads reads
}

var _ bus.Receiver = (*Tail)(nil)

// New returns a Tail that hands everything to sink.
func New(store Store, sink Sink, cfg Config) *Tail {
	return &Tail{
		feed:   store.NewFeed(),
		log:    store,
		sink:   sink,
		cfg:    cfg.withDefaults(),
		topics: make(map[bus.Address]*topic),
		jobs:   newJobs(),
		reads:  reads{at: make(map[place]*turn)},
	}
}

// healers is how many addresses heal at the same time.
const healers = 8

// Run reads the feed, heals and checks until ctx ends, and then returns nil.
func (t *Tail) Run(ctx context.Context) error {
	defer t.reads.wait()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.feed.Run(ctx, t) })
	for range healers {
		g.Go(func() error { return t.healLoop(ctx) })
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
			tp = &topic{address: a, durable: t.Retention(a).Durable()}
			tp.healing = tp.durable // until the first position is known
			t.topics[a] = tp
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
		positions[i] = tp.position()
	}
	return positions, nil
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
		if tp.durable && !tp.known() {
			unknown = append(unknown, tp)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	addresses := make([]bus.Address, len(unknown))
	for i, tp := range unknown {
		addresses[i] = tp.address
	}
	tops, err := t.log.Tops(ctx, addresses)
	if err != nil {
		return err
	}
	for i, tp := range unknown {
		if tp.begin(tops[i], t.sink) {
			t.jobs.push(tp)
		}
	}
	return nil
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
			tp.close()
			delete(t.topics, a)
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
	if tp.take(m, t.sink, t.cfg.HoldLimit) {
		t.jobs.push(tp)
	}
}

// Interrupted notes that messages of the addresses may have been missed.
func (t *Tail) Interrupted(addresses []bus.Address) {
	if s, ok := t.sink.(Interrupter); ok {
		s.Interrupted(addresses)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if addresses == nil {
		for _, tp := range t.topics {
			t.suspect(tp)
		}
		return
	}
	for _, a := range addresses {
		if tp := t.topics[a]; tp != nil {
			t.suspect(tp)
		}
	}
}

func (t *Tail) suspect(tp *topic) {
	if tp.suspect() {
		t.jobs.push(tp)
	}
}
