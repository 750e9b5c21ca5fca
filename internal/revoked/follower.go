// Package revoked follows the log of revocations for one process, so that whatever stands on a token ends with it. This means the
// streams of a gRPC server, and the connections of an edge.
package revoked

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/retry"
	"github.com/trunkline/trunkline/internal/tail"
)

// Store is what a Follower needs of a store.
type Store interface {
	tail.Store
	bus.Revocations
}

// Call is something that stands on a token: a stream of a gRPC server, or a connection of an edge. Its methods may be called
// concurrently.
type Call interface {
	// Identity is who makes the call now.
	Identity() *bus.Identity
	// End ends the call. The first reason counts.
	End(why *bus.Error)
}

// Calls returns the open calls of one kind whose identity is wanted. It may hold locks while it asks, and must not end a call.
type Calls func(wanted func(*bus.Identity) bool) []Call

// Config tunes a Follower.
type Config struct {
	// Forget is called when revocations may have been missed: whatever remembers tokens as valid must then ask again. Optional.
	Forget func()
	// Log hears of losses, and of what has to be tried again; discarded by default.
	Log *slog.Logger
}

// Follower ends open calls when they are revoked: by the log as it comes, and by the store itself where the log cannot say.
//
// It also notices when the store has lost revocations, and says so to the store. A call whose token is older than a loss may
// be one that was revoked. It stays open only when nothing can have been missed here, up to the moment at which the log went on
// anew; see judge. What is remembered here and the store has lost is written again.
//
// Add comes before Run; everything else may be called concurrently.
type Follower struct {
	store  Store
	cfg    Config
	tail   *tail.Tail
	kinds  []Calls
	memory memory

	wake   chan struct{} // something is in fresh
	doubts chan struct{} // the open calls have to be asked about
	losses chan struct{} // the store has lost revocations

	mu       sync.Mutex
	fresh    []bus.Revocation // heard, and not applied to the open calls yet
	ends     []bus.Position   // from where the log did not go on, not told to the store yet
	doubt    uint64           // how often something may have been missed or lost
	judged   uint64           // doubt, when the open calls were asked about last
	broken   bool             // the feed was interrupted since then
	anew     bool             // the log went on anew since then, and the feed was not interrupted before
	outlived time.Time        // the newest loss that the open calls were judged by
	mark     string           // the mark that is waited for
	back     chan struct{}    // closed when it is back
}

var (
	_ tail.Sink        = (*Follower)(nil)
	_ tail.Interrupter = (*Follower)(nil)
	_ tail.Strayer     = (*Follower)(nil)
)

const (
	// callTime bounds one question to the store.
	callTime = 5 * time.Second
	// askBatch is about how many subjects one question is about.
	askBatch = 2000
	// endsLimit is how many ends of the log are kept for the store. One is enough to note a loss.
	endsLimit = 16
	// ClockSkew is how far the clocks of two nodes may be apart.
	ClockSkew = 10 * time.Second
)

// New returns a follower without calls.
func New(store Store, cfg Config) *Follower {
	if cfg.Forget == nil {
		cfg.Forget = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{
		store: store, cfg: cfg, broken: true,
		wake: make(chan struct{}, 1), doubts: make(chan struct{}, 1), losses: make(chan struct{}, 1),
	}
	f.tail = tail.New(store, f, tail.Config{Logger: cfg.Log})
	return f
}

// Add adds calls of one kind.
func (f *Follower) Add(calls Calls) { f.kinds = append(f.kinds, calls) }

// Run follows until ctx ends, and returns nil.
func (f *Follower) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.tail.Run(ctx) })
	g.Go(func() error { return f.follow(ctx) })
	g.Go(func() error { return f.apply(ctx) })
	g.Go(func() error {
		return f.serve(ctx, f.doubts, "cannot ask whether open calls were revoked, trying on", f.judge)
	})
	g.Go(func() error {
		return f.serve(ctx, f.losses, "cannot write revocations again, trying on", f.restore)
	})
	return g.Wait()
}

// Ready returns nil while revocations are known to come through, and otherwise says why not.
func (f *Follower) Ready() error { return f.tail.Ready() }

// Sure says whether no revocation of an open call can have been missed.
func (f *Follower) Sure() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judged == f.doubt && f.doubt > 0 && f.tail.Ready() == nil
}

// Refused returns why an identity is refused by what was heard lately; nil when it is not.
func (f *Follower) Refused(id *bus.Identity) *bus.Error { return f.memory.refuses(id) }

// Newest returns the newest time of a revocation that was heard, zero before the first. A loss is none. Later revocations have later times, but for
// those of tokens that were issued before an earlier time.
func (f *Follower) Newest() time.Time { return f.memory.newestHeard() }

// Check refuses an identity that was right at a time, by some node's clock, when it was revoked since. It answers from memory if
// that goes back so far, and otherwise asks the store.
func (f *Follower) Check(ctx context.Context, id *bus.Identity, right time.Time) error {
	if refused := f.memory.refuses(id); refused != nil {
		return refused
	}
	if f.memory.complete(right) && f.tail.Ready() == nil {
		return nil
	}
	refused, err := f.ask(ctx, id)
	if refused != nil {
		return refused
	}
	return err
}

// Opened is told of a call that is open from now on, or that has another identity. The identity was right at a time by this
// node's clock. Opened ends the call when the identity was revoked since, and asks the store where that may have been missed.
func (f *Follower) Opened(ctx context.Context, c Call, right time.Time) {
	id := c.Identity()
	refused := f.memory.refuses(id)
	if refused == nil && f.memory.missed(right) {
		var err error
		if refused, err = f.ask(ctx, id); err != nil {
			f.Doubt() // all calls are asked about again, until there is an answer
		}
	}
	if refused != nil {
		c.End(refused)
	}
}

// Doubt says that revocations may have been missed until now: nothing is believed from memory before the store was asked.
func (f *Follower) Doubt() {
	f.mu.Lock()
	f.broken, f.anew = true, false
	f.mu.Unlock()
	f.question()
}

// question makes judge ask about the open calls.
func (f *Follower) question() {
	f.mu.Lock()
	f.doubt++
	f.mu.Unlock()
	f.memory.interrupted()
	f.cfg.Forget()
	signal(f.doubts)
}

// Deliver takes one revocation, or the mark that judge waits for.
func (f *Follower) Deliver(m *bus.Message) {
	if m.Kind == bus.MessageMark {
		f.returned(m.ID)
		return
	}
	var r bus.Revocation
	if err := json.Unmarshal(m.Data, &r); err != nil {
		f.cfg.Log.Warn("a revocation cannot be read", slog.String("error", err.Error()))
		return
	}
	f.memory.note(r)
	f.mu.Lock()
	lost := r.Kind == bus.SubjectLost
	news := lost && !r.Before.Equal(f.outlived)
	if !lost {
		f.fresh = append(f.fresh, r)
	}
	f.mu.Unlock()
	switch {
	case news:
		f.question()
	case !lost:
		signal(f.wake)
	}
}

// Stray takes a revocation that the log had lost when it came. It was made all the same.
func (f *Follower) Stray(m *bus.Message) { f.Deliver(m) }

// Gap notes that the log does not go on from where it was.
func (f *Follower) Gap(g bus.Gap) {
	if g.Reason == bus.GapEpoch || g.Reason == bus.GapStoreReset {
		f.mu.Lock()
		if len(f.ends) < endsLimit {
			f.ends = append(f.ends, g.From)
		}
		f.anew = !f.broken
		f.mu.Unlock()
	}
	f.question()
}

// Interrupted notes that pushes may have been missed. The log may have them, or have lost them too.
func (f *Follower) Interrupted([]bus.Address) { f.Doubt() }

// follow follows the log, trying until it succeeds.
func (f *Follower) follow(ctx context.Context) error {
	for try := 0; ctx.Err() == nil; try++ {
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := f.tail.Acquire(call, bus.Revoked)
		cancel()
		if err == nil {
			f.memory.begin()
			f.Doubt() // about calls that are older, and the store learns since when revocations are complete
			<-ctx.Done()
			f.tail.Release(bus.Revoked)
			return nil
		}
		if try == 0 && ctx.Err() == nil {
			f.cfg.Log.Warn("cannot follow revocations yet, trying on", slog.String("error", err.Error()))
		}
		pause(ctx)
	}
	return nil
}

// apply ends the open calls that revocations refuse. What is heard while it looks goes with the next look.
func (f *Follower) apply(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		f.mu.Lock()
		before := make(map[bus.Subject]time.Time, len(f.fresh))
		for _, r := range f.fresh {
			if s := (bus.Subject{Kind: r.Kind, ID: r.ID}); r.Before.After(before[s]) {
				before[s] = r.Before
			}
		}
		f.fresh = nil
		f.mu.Unlock()
		refused := func(id *bus.Identity) *bus.Error {
			return id.Refused(func(s bus.Subject) time.Time { return before[s] })
		}
		for _, c := range f.open(func(id *bus.Identity) bool { return refused(id) != nil }) {
			if why := refused(c.Identity()); why != nil { // it may have another identity meanwhile
				c.End(why)
			}
		}
	}
}

// open returns the open calls of all kinds whose identity is wanted.
func (f *Follower) open(wanted func(*bus.Identity) bool) []Call {
	var all []Call
	for _, calls := range f.kinds {
		all = append(all, calls(wanted)...)
	}
	return all
}

// serve does the work whenever it is signalled, until it has succeeded.
func (f *Follower) serve(ctx context.Context, wanted <-chan struct{}, failed string, work func(context.Context) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wanted:
		}
		for try := 0; ctx.Err() == nil; try++ {
			err := work(ctx)
			if err == nil {
				break
			}
			if try == 0 && ctx.Err() == nil {
				f.cfg.Log.Warn(failed, slog.String("error", err.Error()))
			}
			pause(ctx)
		}
	}
}

// signal wakes whoever waits for the channel, which has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits between tries, and for not the same time in all processes.
func pause(ctx context.Context) {
	retry.Wait(ctx, 100*time.Millisecond+retry.Jitter(400*time.Millisecond))
}
