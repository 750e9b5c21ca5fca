package edge

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// revocations knows whose tokens were revoked. Announcements come over the feed, end open sessions, and are remembered
// for those who are connecting and for tickets. What may have been missed while the feed was interrupted is asked of
// the store, for every open session, as soon as the feed is back.
type revocations struct {
	edge   *Edge
	keep   time.Duration // how long an announcement is remembered
	wake   chan struct{} // something is in fresh
	doubts chan struct{} // the open sessions have to be asked about

	mu    sync.Mutex
	fresh []bus.Revocation // announced, and not applied to the open sessions yet
	known map[bus.Subject]announced
	heard time.Time      // since when every announcement is heard; zero before the first time
	asked bool           // the open sessions were asked about since then
	ends  []bus.Position // from where the log did not go on, not told to the store yet
}

// announced is a remembered revocation.
type announced struct{ before, until time.Time }

const (
	// clockSkew is how far the clocks of two nodes may be apart.
	clockSkew = 10 * time.Second
	// knownLimit is how many announcements are remembered. With more, it is as if the edge had only begun to listen.
	knownLimit = 100_000
	// endsLimit is how many ends of the log are kept for the store. One is enough to note a loss.
	endsLimit = 16
	// askBatch is about how many sessions one call of the store asks about.
	askBatch = 500
)

func newRevocations(e *Edge) *revocations {
	return &revocations{
		edge: e, keep: max(e.cfg.Tickets.Life, time.Minute) + 2*clockSkew,
		wake: make(chan struct{}, 1), doubts: make(chan struct{}, 1),
		known: make(map[bus.Subject]announced),
	}
}

// signal wakes who waits for the channel, which has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// announce takes an announcement from the feed.
func (r *revocations) announce(m *bus.Message) {
	var a bus.Revocation
	if err := json.Unmarshal(m.Data, &a); err != nil {
		r.edge.log.Warn("a revocation cannot be read", slog.String("error", err.Error()))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	sub := bus.Subject{Kind: a.Kind, ID: a.ID}
	if old := r.known[sub]; old.before.After(a.Before) {
		a.Before = old.before
	}
	if len(r.known) >= knownLimit {
		r.forget(now)
	}
	r.known[sub] = announced{before: a.Before, until: now.Add(r.keep)}
	if a.Kind == bus.SubjectLost {
		return // open sessions stay, see open
	}
	r.fresh = append(r.fresh, a)
	signal(r.wake)
}

// open is the times of revocations as they count for a session that is open. That revocations may be lost does not end it: what
// was revoked before then has ended its sessions already. It counts for tokens and tickets that are shown from then on.
func open(before func(bus.Subject) time.Time) func(bus.Subject) time.Time {
	return func(sub bus.Subject) time.Time {
		if sub.Kind == bus.SubjectLost {
			return time.Time{}
		}
		return before(sub)
	}
}

// forget makes room. The caller holds the lock.
func (r *revocations) forget(now time.Time) {
	for sub, a := range r.known {
		if now.After(a.until) {
			delete(r.known, sub)
		}
	}
	if len(r.known) >= knownLimit {
		clear(r.known)
		r.heard, r.asked = now, false
		signal(r.doubts)
	}
}

// interrupted notes that announcements may have been missed until now. From now on they are heard.
func (r *revocations) interrupted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.asked = time.Now(), false
	signal(r.doubts)
}

// missed takes a gap in the log of announcements. Where the log does not go on from what was heard here, its end may be lost, and
// the store is told how far that was.
func (r *revocations) missed(g bus.Gap) {
	r.mu.Lock()
	if (g.Reason == bus.GapEpoch || g.Reason == bus.GapStoreReset) && len(r.ends) < endsLimit {
		r.ends = append(r.ends, g.From)
	}
	r.mu.Unlock()
	r.interrupted()
}

// sure says whether no revocation of an open session can have been missed.
func (r *revocations) sure() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked && r.edge.tail.Ready() == nil
}

// check refuses an identity that was right at a time, by some node's clock, when it was revoked since: from what was
// heard if that goes back so far, and otherwise by asking the store.
func (r *revocations) check(ctx context.Context, id *bus.Identity, right time.Time) error {
	r.mu.Lock()
	refused := r.refuses(id)
	known := !r.heard.IsZero() && right.After(r.heard.Add(clockSkew))
	r.mu.Unlock()
	if refused != nil {
		return refused
	}
	if known && r.edge.tail.Ready() == nil {
		return nil
	}
	return r.ask(ctx, []*bus.Identity{id}, func(_ int, why *bus.Error) error { return why })
}

// opened is told that a session has an identity that was right at a time by this node's clock. From now on
// announcements find the session; it ends when one came before, or may have.
func (r *revocations) opened(ctx context.Context, s *session, id *bus.Identity, right time.Time) {
	r.mu.Lock()
	refused := r.refuses(id)
	missed := right.Before(r.heard)
	r.mu.Unlock()
	if missed && refused == nil {
		err := r.ask(ctx, []*bus.Identity{id}, func(_ int, why *bus.Error) error { refused = why; return nil })
		if err != nil {
			r.interrupted() // everybody is asked about again, until there is an answer
		}
	}
	if refused != nil {
		s.refuse(refused)
	}
}

// refuses returns why a remembered announcement refuses the identity; nil when none does. The caller holds the lock.
func (r *revocations) refuses(id *bus.Identity) *bus.Error {
	if len(r.known) == 0 {
		return nil
	}
	return id.Refused(func(sub bus.Subject) time.Time { return r.known[sub].before })
}

// ask asks the store about identities, in one round trip, and calls f with the index of each that is refused, and why; f's
// error ends it.
func (r *revocations) ask(ctx context.Context, ids []*bus.Identity, f func(i int, why *bus.Error) error) error {
	before, err := r.times(ctx, ids)
	if err != nil {
		return err
	}
	return eachRefused(ids, before, f)
}

// eachRefused calls f for each identity that is refused.
func eachRefused(ids []*bus.Identity, before func(bus.Subject) time.Time, f func(i int, why *bus.Error) error) error {
	for i, id := range ids {
		if why := id.Refused(before); why != nil {
			if err := f(i, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// times asks the store for the revocations of identities, in one round trip.
func (r *revocations) times(ctx context.Context, ids []*bus.Identity) (func(bus.Subject) time.Time, error) {
	var subjects []bus.Subject
	index := make(map[bus.Subject]int)
	for _, id := range ids {
		for _, sub := range id.Subjects() {
			if _, ok := index[sub]; !ok {
				index[sub] = len(subjects)
				subjects = append(subjects, sub)
			}
		}
	}
	times, err := r.edge.store.RevokedBefore(ctx, subjects)
	if err != nil {
		return nil, err
	}
	return func(sub bus.Subject) time.Time { return times[index[sub]] }, nil
}

// run follows the announcements until ctx ends.
func (r *revocations) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.follow(ctx) })
	g.Go(func() error { return r.apply(ctx) })
	g.Go(func() error { return r.recheck(ctx) })
	return g.Wait()
}

// follow follows the address on which revocations are announced, trying until it succeeds.
func (r *revocations) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, r.edge.cfg.CallTimeout)
		_, err := r.edge.tail.Acquire(call, bus.Revoked)
		cancel()
		if err == nil {
			r.interrupted() // who is connected already
			<-ctx.Done()
			r.edge.tail.Release(bus.Revoked)
			return nil
		}
		r.edge.log.Warn("cannot follow revocations yet", slog.String("error", err.Error()))
	}
	return nil
}

// apply ends the sessions that announcements refuse. Those that come while it looks go with the next look.
func (r *revocations) apply(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		before := make(map[bus.Subject]time.Time, len(r.fresh))
		for _, a := range r.fresh {
			if sub := (bus.Subject{Kind: a.Kind, ID: a.ID}); a.Before.After(before[sub]) {
				before[sub] = a.Before
			}
		}
		r.fresh = nil
		r.mu.Unlock()
		refused := func(id *bus.Identity) *bus.Error {
			return id.Refused(func(sub bus.Subject) time.Time { return before[sub] })
		}
		for _, s := range r.edge.connected(func(id *bus.Identity) bool { return refused(id) != nil }) {
			if why := refused(s.identity.Load()); why != nil { // it may have been refreshed meanwhile
				s.refuse(why)
			}
		}
	}
}

// connected returns the open sessions whose identity is wanted. Nothing is written while a shard's lock is held.
func (e *Edge) connected(wanted func(*bus.Identity) bool) []*session {
	var all []*session
	e.hub.sessions(func(s *session) {
		if id := s.identity.Load(); id != nil && wanted(id) {
			all = append(all, s)
		}
	})
	return all
}

// recheck asks the store about the open sessions whenever announcements may have been missed, until it answers.
func (r *revocations) recheck(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.doubts:
		}
		for try := 0; ctx.Err() == nil; try++ {
			err := r.askAll(ctx)
			if err == nil {
				break
			}
			if try == 0 {
				r.edge.log.Warn("cannot ask whether open connections were revoked, trying on", slog.String("error", err.Error()))
			}
			timer := time.NewTimer(100*time.Millisecond + rand.N(400*time.Millisecond)) //nolint:gosec // jitter, not a secret
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

func (r *revocations) askAll(ctx context.Context) error {
	r.mu.Lock()
	heard := r.heard
	ends := r.ends
	r.mu.Unlock()
	for _, at := range ends {
		if err := r.edge.store.RevocationsSeen(ctx, at); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.ends = r.ends[len(ends):]
	r.mu.Unlock()
	for all := range slices.Chunk(r.edge.connected(func(*bus.Identity) bool { return true }), askBatch) {
		ids := make([]*bus.Identity, len(all))
		for i, s := range all {
			ids[i] = s.identity.Load()
		}
		call, cancel := context.WithTimeout(ctx, r.edge.cfg.CallTimeout)
		before, err := r.times(call, ids)
		cancel()
		if err != nil {
			return err
		}
		_ = eachRefused(ids, open(before), func(i int, why *bus.Error) error { all[i].refuse(why); return nil })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = r.heard.Equal(heard) // otherwise there is doubt again
	return nil
}
