package behind

import (
	"cmp"
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/quota"
)

// Roster tells the store who is subscribed to channels that list their subscribers, in order for each connection. What the
// store does not take is tried again until it does.
type Roster struct {
	namespaces bus.Namespaces
	node       string
	seed       maphash.Seed
	lanes      [rosterLanes]*lane
	keeper     *keeper
	reaper     *reaper
	shares     *quota.Shares // of what tells that addresses are occupied and vacated
	damper     *damper

	mu     sync.Mutex
	counts map[bus.Address]int // of this node
}

const (
	// occupancyBurst is how many subscriptions of one user may tell of occupied addresses at once, and occupancyEvery how long
	// one more takes then. So a client that comes and goes in a loop takes a third of the log of events a day, and pushes
	// nobody else's out.
	occupancyBurst = 1000
	occupancyEvery = 5 * time.Second
)

// newOccupancies bounds what each user's subscriptions tell of addresses that are occupied and vacated.
func newOccupancies(events bus.Retention, untold prometheus.Counter) *quota.Shares {
	if !events.Durable() {
		return nil
	}
	return quota.NewShares(occupancyBurst, occupancyEvery, untold)
}

// rosterLanes is how many changes are under way at once.
const rosterLanes = 8

func newRoster(store rosterStore, cfg Config, untold, damped prometheus.Counter) *Roster {
	r := &Roster{
		namespaces: cfg.Namespaces, node: cfg.Life, seed: maphash.MakeSeed(), counts: make(map[bus.Address]int),
		reaper: newReaper(store, cfg.CallTimeout, cfg.Logger),
		shares: newOccupancies(cfg.Namespaces.Events, untold), damper: newDamper(cfg.Departures, damped),
	}
	r.keeper = &keeper{store: store, node: cfg.Life, log: cfg.Logger, addresses: r.addresses, relist: cfg.Relist}
	for i := range r.lanes {
		r.lanes[i] = newLane(store, cfg, r.reaper.overdue)
	}
	return r
}

// Lists says whether the address lists its subscribers.
func (r *Roster) Lists(a bus.Address) bool {
	// The only system addresses that sessions follow count the clients of a dialect.
	return a.Kind() == bus.KindSystem || r.namespaces.For(a).Presence
}

// Free returns an error when so many changes wait for the store that the connection cannot be listed in the address.
func (r *Roster) Free(a bus.Address, connection string) error {
	if r.Lists(a) && r.lane(connection).changes.filled() >= laneLimit {
		return bus.ErrStoreUnavailable.With("too many changes of rosters wait for the store", nil)
	}
	return nil
}

// Count notes that a connection of this node is going to be in an address that lists its subscribers.
func (r *Roster) Count(a bus.Address) { r.count(a, 1) }

// Join adds a member to an address that lists its subscribers, or adds it again. It does not wait.
func (r *Roster) Join(a bus.Address, m bus.Member) {
	m.Node = r.node
	m.Quiet = !r.shares.Take(cmp.Or(m.User, m.Client), 1)
	r.lane(m.Connection).put(change{address: a, member: m, connection: m.Connection})
}

// Leave removes a connection: at once or, when it was lost at a time, when the grace since then is over.
func (r *Roster) Leave(a bus.Address, connection string, lost time.Time) {
	if !r.Lists(a) {
		return
	}
	r.count(a, -1)
	r.lane(connection).put(change{address: a, connection: connection, lost: lost})
}

// LeaveAgain is Leave, at once, of a connection of a user that may come back. A user that comes and goes in a loop counts as lost.
// It is not shown as gone, and as there again, before the grace is over.
func (r *Roster) LeaveAgain(a bus.Address, connection, user string) {
	var lost time.Time
	if r.Lists(a) && r.damper.flaps(user, a) {
		lost = time.Now()
	}
	r.Leave(a, connection, lost)
}

func (r *Roster) count(a bus.Address, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n += r.counts[a]; n <= 0 {
		delete(r.counts, a)
		return
	}
	r.counts[a.Clone()] = n // the map takes the text that it is written with
}

// addresses are those where this node has members.
func (r *Roster) addresses() []bus.Address {
	r.mu.Lock()
	defer r.mu.Unlock()
	addresses := make([]bus.Address, 0, len(r.counts))
	for a := range r.counts {
		addresses = append(addresses, a)
	}
	return addresses
}

// lane returns the lane of a connection: always the same one, so that its changes stay in order.
func (r *Roster) lane(connection string) *lane {
	return r.lanes[maphash.String(r.seed, connection)%rosterLanes]
}

// Waiting is how many changes wait.
func (r *Roster) Waiting() int {
	n := 0
	for _, l := range r.lanes {
		n += l.changes.filled()
	}
	return n
}

// run applies changes and keeps the rosters from being forgotten, until ctx ends; then it applies what is left.
func (r *Roster) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range r.lanes {
		all.Go(func() { l.worker.run(ctx) })
	}
	all.Go(func() { r.keeper.run(ctx) })
	all.Go(func() { r.reaper.run(ctx) })
	all.Wait()
}
