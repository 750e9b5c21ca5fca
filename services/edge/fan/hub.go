// Package fan hands messages to connections. It knows who follows which address, makes the bytes of a message once for each
// dialect, and keeps the order of every subscription. That order holds while the log is read, while the client is slow, and
// while somebody has to be asked.
package fan

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/presence"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// Config tunes a Hub, and says whom it tells. Every field is required, but for Authorizer.
type Config struct {
	// Dialects are what subscribers speak, which name theirs by its index.
	Dialects []dialect.Dialect
	// Namespaces say what a slow client gets.
	Namespaces bus.Namespaces
	// Authorizer may be one that is asked about deliveries.
	Authorizer bus.Authorizer
	// HoldLimit and HoldBytes bound what one subscription holds, HoldTotal what all hold.
	HoldLimit, HoldBytes, HoldTotal int
	// ShardParcels and ShardBytes bound what waits for a shard.
	ShardParcels, ShardBytes int
	// Now is the clock by which messages expire: the store's.
	Now func() time.Time
	// Wrote is told of messages that ask for an ack when they have been written to a device.
	Wrote func([]bus.Ack)
	// Go runs f for a subscriber on a goroutine. The owner waits for all of them, and a panic of one ends its subscriber alone.
	Go func(s *Subscriber, f func())
	// Unencodable is told of an answer or an event that a dialect has words for, and cannot put into them. It must not wait.
	Unencodable func(why error)
	// Tick is called for each shard about once in TickInterval.
	Tick func(now time.Time, sh *Shard)
}

// TickInterval is how often a shard looks at its subscribers; it stands in for timers of each connection.
const TickInterval = time.Second

// Hub hands messages to subscribers. It is sharded by core: a connection belongs to one shard, a shard is one
// goroutine. An address that has subscribers in a shard is a group there. What arrives for a shard while it
// is writing is merged in the next round, so merging grows with the load and delays nothing. Its methods may be used
// concurrently; messages go on while Run runs.
type Hub struct {
	cfg     Config
	metrics *metrics
	shards  []*Shard
	crowds  *presence.Gatherer
	next    atomic.Uint64 // spreads subscribers over the shards

	languages languages

	mu    sync.RWMutex
	index map[bus.Address]uint64 // which shards have a group, by bit
	// watched is how many subscriptions of an address are told who comes and goes.
	watched map[bus.Address]int
}

var _ tail.Sink = (*Hub)(nil)

// maxShards is what fits the index's bits.
const maxShards = 64

// New returns a hub without subscribers, with a shard for each core.
func New(cfg Config, reg prometheus.Registerer) *Hub {
	h := &Hub{cfg: cfg, metrics: newMetrics(reg), index: make(map[bus.Address]uint64), watched: make(map[bus.Address]int)}
	h.languages = languages{cfg.Dialects, cfg.Unencodable}
	h.crowds = presence.New(cfg.Namespaces.MembersInEvents, h.crowd)
	h.crowds.Register(reg, "edge")
	for i := range min(runtime.GOMAXPROCS(0), maxShards) {
		h.shards = append(h.shards, newShard(h, i))
	}
	h.metrics.sums(reg, h.sum)
	return h
}

// sum adds up what a shard says of itself.
func (h *Hub) sum(of func(load) int) (n int) {
	for _, sh := range h.shards {
		n += of(sh.load())
	}
	return n
}

// Subscriber returns the subscriber of a session in one of the shards, with an id of its own. The slot is its dialect's.
func (h *Hub) Subscriber(session Session, conn *wire.Conn, slot int) *Subscriber {
	sh := h.shards[h.next.Add(1)%uint64(len(h.shards))]
	_, stateful := h.cfg.Dialects[slot].(dialect.Stateful)
	return &Subscriber{Session: session, Conn: conn, ID: uuid.NewString(), slot: slot, ordered: stateful, shard: sh}
}

// Ever is how many subscribers there have been.
func (h *Hub) Ever() uint64 { return h.next.Load() }

// Deliver puts a message into every shard that has subscribers for it.
func (h *Hub) Deliver(m *bus.Message) {
	switch m.Kind {
	case bus.MessageReceipt:
		return // for whoever watches a receipt
	case bus.MessagePresence:
		if h.watches(m.To) { // nearly all of them end here
			h.crowds.Add(m)
		}
		return
	}
	h.crowds.Flush(m.To)
	h.spread(newParcel(m, nil, len(h.cfg.Dialects)))
}

// crowd puts who came and went into every shard that has subscribers for it.
func (h *Hub) crowd(m *bus.Message) {
	if e := convert.PresenceEvent(m); e != nil {
		p := newParcel(m, nil, len(h.cfg.Dialects))
		p.crowd = presenceFrame(e)
		h.spread(p)
	}
}

// Gap puts a gap into every shard that has subscribers for it.
func (h *Hub) Gap(g bus.Gap) {
	h.CountGap()
	h.spread(h.gapParcel(g))
}

// CountGap counts a gap that is told to subscribers.
func (h *Hub) CountGap() { h.metrics.gaps.Inc() }

func (h *Hub) gapParcel(g bus.Gap) *parcel { return newParcel(nil, &g, len(h.cfg.Dialects)) }

func (h *Hub) spread(p *parcel) {
	h.mu.RLock()
	bits := h.index[p.address()]
	h.mu.RUnlock()
	// The lock is not held any more, so a shard may have lost its group by now, or a new one may be missed. Neither matters:
	// a round finds no group, and a new subscription learns from the tail where it begins.
	for i := 0; bits != 0; i, bits = i+1, bits>>1 {
		if bits&1 != 0 {
			h.shards[i].enqueue(p)
		}
	}
}

// point notes whether a shard has a group for the address.
func (h *Hub) point(a bus.Address, shard int, has bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bits := h.index[a]
	if has {
		bits |= 1 << shard
	} else {
		bits &^= 1 << shard
	}
	if bits == 0 { // an address without subscribers costs nothing
		delete(h.index, a)
		return
	}
	h.index[a] = bits
}

// watch counts the subscriptions of an address that are told who comes and goes.
func (h *Hub) watch(sub *Subscription, n int) {
	if !sub.watches {
		return // nearly all of them, without the lock that every message reads
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watched[sub.address] += n; h.watched[sub.address] <= 0 {
		delete(h.watched, sub.address)
	}
}

// watches says whether anybody here is told who comes to an address and who goes.
func (h *Hub) watches(a bus.Address) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.watched[a] > 0
}

// Run runs the shards until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.crowds.Run(ctx) })
	for _, sh := range h.shards {
		g.Go(func() error { return sh.run(ctx) })
	}
	return g.Wait()
}

// Each calls f for every subscriber, shard by shard; f must not call the hub.
func (h *Hub) Each(f func(*Subscriber)) {
	for _, sh := range h.shards {
		sh.Each(func(all []*Subscriber, _ *wire.Attempt) {
			for _, s := range all {
				f(s)
			}
		})
	}
}

// Listed calls f for every subscription of an address that is in the roster; f must not call the hub. A member that leaves
// does so after it was detached, so whoever joins them again cannot overtake that.
func (h *Hub) Listed(a bus.Address, f func(*Subscription)) {
	for _, sh := range h.shards {
		sh.mu.Lock()
		if g := sh.groups[a]; g != nil {
			for _, sub := range g.subs {
				if sub.listed > 0 {
					f(sub)
				}
			}
		}
		sh.mu.Unlock()
	}
}
