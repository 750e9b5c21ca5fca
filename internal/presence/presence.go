// Package presence gathers who comes to an address and who goes. A change is told to everybody who asked, so a crowd that
// comes one by one would cost the square of its size. What is gathered is told in beats instead, once for all listeners.
package presence

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// shortest is a beat of an address with few members, and longest of one with many. In between each member adds perMember, so
	// that beats and listeners together stay about the same.
	shortest  = 250 * time.Millisecond
	longest   = 10 * time.Second
	perMember = time.Millisecond
)

// Gatherer hands on the changes of addresses: the first one of an address at once, and what follows it at the end of each beat.
// It keeps at most twice as many changes of an address as it lists members. An address where nobody came or went in the last
// beat is forgotten. It may be used concurrently; Run has to run.
type Gatherer struct {
	listed  int
	hand    func(*bus.Message)
	wake    chan struct{} // of Run
	waiting atomic.Int64  // changes that were not handed on yet
	changes atomic.Uint64 // that were added
	handed  atomic.Uint64 // events that were handed on

	mu    sync.RWMutex
	of    map[bus.Address]*beat
	order order // by their ends
}

// New returns a Gatherer of addresses that have at most so many members listed. It calls hand with each event, under its lock.
// The message is of the kind MessagePresence and has PresenceNews. hand must not wait, and must not call the Gatherer.
func New(listed int, hand func(*bus.Message)) *Gatherer {
	if listed <= 0 {
		listed = bus.MaxMembersInEvents
	}
	return &Gatherer{listed: listed, hand: hand, wake: make(chan struct{}, 1), of: make(map[bus.Address]*beat)}
}

// Register makes readable what waits and what was handed on in a role.
func (g *Gatherer) Register(reg prometheus.Registerer, role string) {
	if reg == nil {
		return
	}
	labels := prometheus.Labels{"role": role}
	reg.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "trunkline_presence_changes_total", Help: "Clients that came to a followed address or left it.", ConstLabels: labels,
		}, func() float64 { return float64(g.changes.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "trunkline_presence_events_total", Help: "Presence events made of these changes, each told to all listeners.", ConstLabels: labels,
		}, func() float64 { return float64(g.handed.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_presence_waiting_changes", Help: "Changes that wait for the end of a beat.", ConstLabels: labels,
		}, func() float64 { return float64(g.waiting.Load()) }),
	)
}

// Add takes a message of the kind MessagePresence as the store tells it. It drops one that cannot be read.
func (g *Gatherer) Add(m *bus.Message) {
	e, err := bus.PresenceOf(m)
	if err != nil {
		return
	}
	g.changes.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	b, beating := g.of[m.To]
	if !beating {
		b = &beat{address: m.To.Clone()}
		g.of[b.address] = b
	}
	g.waiting.Add(int64(b.note(e, g.listed)))
	b.last = m
	if beating { // it waits, without what it is told with
		bare := *m
		bare.Data = nil
		bare = bare.Clone()
		b.last = &bare
		return
	}
	g.tell(b)
	b.end = time.Now().Add(length(b.clients))
	heap.Push(&g.order, b)
	if g.order[0] == b {
		select {
		case g.wake <- struct{}{}:
		default: // Run is about to look
		}
	}
}

// Flush hands on the changes of an address that are listed, so that a message does not come before its sender.
func (g *Gatherer) Flush(a bus.Address) {
	if g.waiting.Load() == 0 {
		return
	}
	g.mu.RLock()
	b := g.of[a]
	due := b != nil && b.unlisted == 0 && len(b.changes) > 0
	g.mu.RUnlock()
	if !due {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if b = g.of[a]; b != nil && b.unlisted == 0 {
		g.tell(b)
	}
}

// Run ends beats until ctx ends.
func (g *Gatherer) Run(ctx context.Context) error {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		timer.Reset(g.beat(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-g.wake:
		}
	}
}

// beat ends the beats that are over, and returns when the next one is. An address where nothing has come is forgotten.
func (g *Gatherer) beat(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.order) > 0 {
		b := g.order[0]
		if b.end.After(now) {
			return b.end.Sub(now)
		}
		if !g.tell(b) {
			heap.Pop(&g.order)
			delete(g.of, b.address)
			continue
		}
		b.end = now.Add(length(b.clients))
		heap.Fix(&g.order, 0)
	}
	return longest
}

// tell hands on what waits. It returns whether anything was noted since the last time. The caller holds the lock.
func (g *Gatherer) tell(b *beat) bool {
	if b.last == nil {
		return false
	}
	g.waiting.Add(-int64(b.weight()))
	news, told := b.take()
	m := *b.last
	b.last = nil
	if told {
		m.Data = news.JSON()
		g.handed.Add(1)
		g.hand(&m)
	}
	return true
}

// length is how long the beats of an address with so many clients are.
func length(clients int) time.Duration {
	return max(shortest, min(longest, time.Duration(clients)*perMember))
}

// order is a heap of beats.
type order []*beat

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i].end.Before(o[j].end) }
func (o order) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }

// Push adds a beat.
func (o *order) Push(x any) { *o = append(*o, x.(*beat)) } //nolint:forcetypeassert // container/heap gives back what it was given

// Pop removes the last one.
func (o *order) Pop() any {
	last := len(*o) - 1
	b := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return b
}
