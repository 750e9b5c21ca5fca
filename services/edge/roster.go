package edge

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// roster tells the store who is subscribed to channels that list their subscribers. It does so behind
// the commands, in order for each connection, so that a slow store holds up nobody; what the store
// does not take is tried again until it does.
type roster struct {
	store   rosterStore
	hub     *hub
	listed  func(bus.Address) bool
	node    string
	timeout time.Duration
	grace   time.Duration
	log     *slog.Logger
	seed    maphash.Seed
	lanes   [rosterLanes]lane
	budgets *budgets
	overdue chan struct{} // somebody's grace is over already

	mu     sync.Mutex
	counts map[bus.Address]int // of this node
}

type rosterStore interface {
	bus.Roster
	bus.Reaper
}

// rosterLanes is how many changes are under way at once.
const rosterLanes = 8

type change struct {
	address    bus.Address
	member     bus.Member // joins when set
	connection string
	lost       time.Time // when the connection broke; zero for one that leaves
}

func newRoster(store rosterStore, h *hub, cfg Config, log *slog.Logger, untold prometheus.Counter) *roster {
	r := &roster{
		store: store, hub: h, node: cfg.Run, timeout: cfg.CallTimeout, grace: cfg.LostGrace, log: log,
		// The system addresses that sessions follow are those of dialects that are counted.
		listed: func(a bus.Address) bool { return a.Kind() == bus.KindSystem || cfg.Namespaces.For(a).Presence },
		seed:   maphash.MakeSeed(), counts: make(map[bus.Address]int), overdue: make(chan struct{}, 1), budgets: newBudgets(cfg.Namespaces.Events.Durable(), untold),
	}
	for i := range r.lanes {
		r.lanes[i].wake = make(chan struct{}, 1)
	}
	return r
}

// join adds a subscription. The caller holds its shard's lock.
func (r *roster) join(sub *subscription, who *bus.Identity) {
	client := who.Client
	if sub.session.single {
		client = sub.session.id
	}
	m := bus.Member{
		Connection: sub.session.id, Client: client, User: who.User, Node: r.node, Joined: time.UnixMilli(sub.listed),
		Quiet: !r.budgets.allow(cmp.Or(who.User, who.Client)),
	}
	r.push(change{address: sub.address, member: m, connection: m.Connection})
}

// leave removes a connection: at once or, when it was lost at a time, when the grace since then is over.
func (r *roster) leave(a bus.Address, connection string, lost time.Time) {
	if !r.listed(a) {
		return
	}
	r.count(a, -1)
	r.push(change{address: a, connection: connection, lost: lost})
}

func (r *roster) count(a bus.Address, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[a] += n; r.counts[a] <= 0 {
		delete(r.counts, a)
	}
}

func (r *roster) push(c change) {
	l := r.lane(c.connection)
	l.put(c)
	signal(l.wake)
}

func (r *roster) lane(connection string) *lane {
	return &r.lanes[maphash.String(r.seed, connection)%rosterLanes]
}

// admits returns an error when so many changes wait for the store that the connection cannot be listed in the address.
func (r *roster) admits(a bus.Address, connection string) error {
	if r.listed(a) && r.lane(connection).length() >= laneLimit {
		return bus.ErrStoreUnavailable.With("too many changes of rosters wait for the store", nil)
	}
	return nil
}

// length is how many changes wait.
func (r *roster) length() int {
	n := 0
	for i := range r.lanes {
		n += r.lanes[i].length()
	}
	return n
}

// run applies changes and keeps the rosters from being forgotten, until ctx ends; then it
// applies what is left within a second.
func (r *roster) run(ctx context.Context) error {
	var g errgroup.Group
	for i := range r.lanes {
		g.Go(func() error { r.serve(ctx, &r.lanes[i]); return nil })
	}
	g.Go(func() error { r.touch(ctx); return nil })
	g.Go(func() error { r.reap(ctx); return nil })
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

// apply applies what waits in a lane. What the store does not take stays in front.
func (r *roster) apply(ctx context.Context, l *lane) {
	for c, ok := l.take(); ok; c, ok = l.take() {
		if err := r.change(ctx, c); err != nil {
			r.log.Warn("cannot change a roster; it is tried again", "address", c.address.String(), "error", err.Error())
			l.back(c)
			r.later(ctx, l)
			return
		}
	}
}

// change applies one change; it may be repeated without harm.
func (r *roster) change(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	switch {
	case c.member.Connection != "":
		return r.store.Join(ctx, c.address, c.member)
	case !c.lost.IsZero():
		err := r.store.Lose(ctx, c.address, c.connection, c.lost, r.grace)
		if err == nil && time.Since(c.lost) >= r.grace {
			signal(r.overdue)
		}
		return err
	}
	return r.store.Leave(ctx, c.address, c.connection)
}

// retryRoster is how long a lane rests after the store refused a change.
const retryRoster = 250 * time.Millisecond

// later wakes a lane after a rest.
func (r *roster) later(ctx context.Context, l *lane) {
	timer := time.NewTimer(retryRoster)
	defer timer.Stop()
	select {
	case <-timer.C:
		signal(l.wake)
	case <-ctx.Done():
	}
}

// keepEvery is how often the store is asked whether it may have lost what it was told.
const keepEvery = bus.NodeTTL / 3

// touch keeps the rosters from being forgotten, a few at a time, and joins again whom the store does not know any more. When the
// store may have lost something it is asked about all of them at once.
func (r *roster) touch(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	t := toucher{roster: r, last: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := t.round(ctx); err != nil {
				r.log.Warn("cannot keep the rosters", "error", err.Error())
			}
		}
	}
}

// toucher is where the rounds of touch are.
type toucher struct {
	roster *roster
	kept   string // what the store said, and
	known  bool   // whether it has said anything
	last   time.Time
	rest   []bus.Address // still to be touched in this turn
	hurry  bool          // the store may have lost some of them
}

func (t *toucher) round(ctx context.Context) error {
	r := t.roster
	ctx, cancel := context.WithTimeout(ctx, keepEvery)
	defer cancel()
	kept, err := r.store.Kept(ctx, r.node)
	if err != nil {
		return err
	}
	silent := time.Since(t.last) > bus.NodeTTL-keepEvery // this node may have been taken for dead
	all := r.addresses()
	if silent || t.known && kept != t.kept {
		t.rest, t.hurry = all, true
	}
	t.kept, t.known = kept, true
	now := t.next(all)
	missing, err := r.store.Touch(ctx, r.node, now)
	if err != nil {
		t.rest = append(now, t.rest...)
		return err
	}
	if silent {
		missing = all
	}
	t.last = time.Now()
	for _, a := range missing {
		r.hub.relist(a)
	}
	return nil
}

// hurryPart is how many addresses one round asks about when the store may have lost some.
const hurryPart = 20_000

// next returns the part of the addresses that is touched now, so that each has its turn in time.
func (t *toucher) next(all []bus.Address) []bus.Address {
	if len(t.rest) == 0 {
		t.rest, t.hurry = all, false
	}
	const rounds = int(bus.RosterTouch / keepEvery)
	n := min(len(t.rest), (len(all)+rounds-1)/rounds)
	if t.hurry {
		n = min(len(t.rest), hurryPart)
	}
	part := t.rest[:n:n]
	t.rest = t.rest[n:]
	return part
}

// addresses are those where this node has members.
func (r *roster) addresses() []bus.Address {
	r.mu.Lock()
	defer r.mu.Unlock()
	addresses := make([]bus.Address, 0, len(r.counts))
	for a := range r.counts {
		addresses = append(addresses, a)
	}
	return addresses
}

// reap removes the members, of any node, that will not leave by themselves.
func (r *roster) reap(ctx context.Context) {
	timer := time.NewTimer(reapPause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.overdue:
		}
		for more := true; more && ctx.Err() == nil; {
			call, cancel := context.WithTimeout(ctx, r.timeout)
			var err error
			more, err = r.store.Reap(call, bus.NodeTTL)
			cancel()
			if err != nil {
				r.log.Debug("cannot look for members that have gone", "error", err.Error())
				more = false
			}
		}
		timer.Reset(reapPause())
	}
}

// reapPause is about a second, differs so that the nodes do not all look at once.
func reapPause() time.Duration {
	return 750*time.Millisecond + rand.N(500*time.Millisecond) //nolint:gosec // spreading needs no secret
}
