package edge

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// roster tells the store who is subscribed to channels that list their subscribers. It does so behind
// the commands, in order for each connection, so that a slow store holds up nobody.
type roster struct {
	store   bus.Roster
	listed  func(bus.Address) bool
	timeout time.Duration
	log     *slog.Logger
	seed    maphash.Seed
	lanes   [rosterLanes]lane

	mu     sync.Mutex
	counts map[bus.Address]int // of this node
}

// rosterLanes is how many changes are under way at once.
const rosterLanes = 8

type lane struct {
	mu    sync.Mutex
	queue []change
	wake  chan struct{}
}

type change struct {
	address    bus.Address
	member     bus.Member // joins when set
	connection string
}

func newRoster(store bus.Roster, listed func(bus.Address) bool, timeout time.Duration, log *slog.Logger) *roster {
	r := &roster{store: store, listed: listed, timeout: timeout, log: log, seed: maphash.MakeSeed(), counts: make(map[bus.Address]int)}
	for i := range r.lanes {
		r.lanes[i].wake = make(chan struct{}, 1)
	}
	return r
}

func (r *roster) join(a bus.Address, m bus.Member) {
	if !r.listed(a) {
		return
	}
	r.count(a, 1)
	r.push(change{address: a, member: m, connection: m.Connection})
}

func (r *roster) leave(a bus.Address, connection string) {
	if !r.listed(a) {
		return
	}
	r.count(a, -1)
	r.push(change{address: a, connection: connection})
}

func (r *roster) count(a bus.Address, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[a] += n; r.counts[a] <= 0 {
		delete(r.counts, a)
	}
}

func (r *roster) push(c change) {
	l := &r.lanes[maphash.String(r.seed, c.connection)%rosterLanes]
	l.mu.Lock()
	l.queue = append(l.queue, c)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run applies changes and keeps the rosters from being forgotten, until ctx ends; then it
// applies what is left within a second.
func (r *roster) run(ctx context.Context) error {
	var g errgroup.Group
	for i := range r.lanes {
		g.Go(func() error { r.serve(ctx, &r.lanes[i]); return nil })
	}
	g.Go(func() error { r.touch(ctx); return nil })
	return g.Wait()
}

func (r *roster) serve(ctx context.Context, l *lane) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			r.apply(last, l)
			return
		case <-l.wake:
			r.apply(ctx, l)
		}
	}
}

func (r *roster) apply(ctx context.Context, l *lane) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, c := range queue {
		if ctx.Err() != nil {
			return
		}
		call, cancel := context.WithTimeout(ctx, r.timeout)
		var err error
		if c.member.Connection != "" {
			err = r.store.Join(call, c.address, c.member)
		} else {
			err = r.store.Leave(call, c.address, c.connection)
		}
		cancel()
		if err != nil {
			r.log.Warn("cannot change a roster", "address", c.address.String(), "error", err.Error())
		}
	}
}

func (r *roster) touch(ctx context.Context) {
	ticker := time.NewTicker(bus.NodeTTL / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		addresses := make([]bus.Address, 0, len(r.counts))
		for a := range r.counts {
			addresses = append(addresses, a)
		}
		r.mu.Unlock()
		if len(addresses) == 0 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, bus.NodeTTL/3)
		if err := r.store.Touch(call, addresses); err != nil {
			r.log.Warn("cannot keep the rosters", "error", err.Error())
		}
		cancel()
	}
}
