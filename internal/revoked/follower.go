// Package revoked follows the log of revocations for the gRPC server of a process, so that calls that outlive the check of
// their token end with it.
package revoked

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
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/tail"
)

// Store is what a Follower needs of a store.
type Store interface {
	tail.Store
	bus.Revocations
}

// Follower tells standing calls of revocations: of each as it comes, by the log when a push was missed, and by the store itself
// when the log cannot say. It notes in the store that revocations may be lost when the log has lost what it had seen.
type Follower struct {
	store  Store
	calls  *rpc.Standing
	forget func()
	log    *slog.Logger
	tail   *tail.Tail
	doubts chan struct{}

	mu   sync.Mutex
	ends []bus.Position // from where the log did not go on, not told to the store yet
}

var (
	_ tail.Sink        = (*Follower)(nil)
	_ tail.Interrupter = (*Follower)(nil)
)

const (
	// callTime bounds one question to the store.
	callTime = 5 * time.Second
	// askBatch is about how many subjects one question is about.
	askBatch = 2000
	// endsLimit is how many ends of the log are kept for the store. One is enough to note a loss.
	endsLimit = 16
)

// New returns a follower that tells calls. forget is called when revocations may have been missed: whatever remembers tokens as
// valid must then ask again.
func New(store Store, calls *rpc.Standing, forget func(), log *slog.Logger) *Follower {
	f := &Follower{store: store, calls: calls, forget: forget, log: log, doubts: make(chan struct{}, 1)}
	f.tail = tail.New(store, f, tail.Config{Log: log})
	return f
}

// Run follows until ctx ends, and returns nil.
func (f *Follower) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.tail.Run(ctx) })
	g.Go(func() error { return f.follow(ctx) })
	g.Go(func() error { return f.settle(ctx) })
	return g.Wait()
}

// Ready returns nil while revocations are known to come through, and otherwise says why not.
func (f *Follower) Ready() error { return f.tail.Ready() }

// Deliver takes one revocation.
func (f *Follower) Deliver(m *bus.Message) {
	var r bus.Revocation
	if err := json.Unmarshal(m.Data, &r); err != nil {
		f.log.Warn("a revocation cannot be read", slog.String("error", err.Error()))
		return
	}
	f.calls.Announce(r)
}

// Gap notes that the log does not go on from where it was.
func (f *Follower) Gap(g bus.Gap) {
	f.mu.Lock()
	if (g.Reason == bus.GapEpoch || g.Reason == bus.GapStoreReset) && len(f.ends) < endsLimit {
		f.ends = append(f.ends, g.From)
	}
	f.mu.Unlock()
	f.doubt()
}

// Interrupted notes that pushes may have been missed. The log has them; until it was read nothing is believed from memory.
func (f *Follower) Interrupted([]bus.Address) { f.forget() }

func (f *Follower) doubt() {
	f.forget()
	select {
	case f.doubts <- struct{}{}:
	default:
	}
}

// follow follows the log, trying until it succeeds.
func (f *Follower) follow(ctx context.Context) error {
	for try := 0; ctx.Err() == nil; try++ {
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := f.tail.Acquire(call, bus.Revoked)
		cancel()
		if err == nil {
			f.doubt() // about calls that are older, and the store learns since when revocations are complete
			<-ctx.Done()
			f.tail.Release(bus.Revoked)
			return nil
		}
		if try == 0 && ctx.Err() == nil {
			f.log.Warn("cannot follow revocations yet, trying on", slog.String("error", err.Error()))
		}
		pause(ctx)
	}
	return nil
}

// settle asks the store about the tokens of all calls whenever there is doubt, until it has answered.
func (f *Follower) settle(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.doubts:
		}
		for try := 0; ctx.Err() == nil; try++ {
			err := f.ask(ctx)
			if err == nil {
				break
			}
			if try == 0 && ctx.Err() == nil {
				f.log.Warn("cannot ask whether open calls were revoked, trying on", slog.String("error", err.Error()))
			}
			pause(ctx)
		}
	}
}

func (f *Follower) ask(ctx context.Context) error {
	f.mu.Lock()
	ends := f.ends
	f.mu.Unlock()
	for _, at := range ends {
		call, cancel := context.WithTimeout(ctx, callTime)
		err := f.store.RevocationsSeen(call, at)
		cancel()
		if err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.ends = f.ends[len(ends):]
	f.mu.Unlock()
	subjects := append(f.calls.Subjects(), bus.Subject{Kind: bus.SubjectLost})
	for some := range slices.Chunk(subjects, askBatch) {
		call, cancel := context.WithTimeout(ctx, callTime)
		times, err := f.store.RevokedBefore(call, some)
		cancel()
		if err != nil {
			return err
		}
		for i, at := range times {
			if !at.IsZero() {
				f.calls.Announce(bus.Revocation{Kind: some[i].Kind, ID: some[i].ID, Before: at})
			}
		}
	}
	return nil
}

// pause waits between tries.
func pause(ctx context.Context) {
	timer := time.NewTimer(100*time.Millisecond + rand.N(400*time.Millisecond)) //nolint:gosec // jitter, not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
