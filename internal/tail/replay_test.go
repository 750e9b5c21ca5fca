package tail_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/tail"
)

// slowLog is a store whose reads of the log answer with what was there when they began, when a test lets them.
type slowLog struct {
	*lossy
	begun chan struct{}
	let   chan struct{}
}

func (s slowLog) Since(ctx context.Context, a bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	p, err := s.lossy.Since(ctx, a, r, after, limit)
	s.begun <- struct{}{}
	<-s.let
	return p, err
}

// Those who come while a read is under way share the next one: the one under way may lack what was published since.
func TestTail_sharesReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tail.Config{}, 100)
		at := f.acquire(t)
		f.publish(t, 1)
		slow := slowLog{f.store, make(chan struct{}), make(chan struct{})}
		shared := tail.New(slow, f.sink, tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: f.keep}}})
		var all sync.WaitGroup
		replay := func(want uint64) {
			all.Go(func() {
				next, err := shared.ReplayPages(t.Context(), f.a, at, func(*tail.Shared) error { return nil })
				if err != nil || next.Offset != want {
					t.Errorf("replayed to %+v, %v; want %d", next, err, want)
				}
			})
		}
		replay(1)
		<-slow.begun
		f.publish(t, 1)
		for range 10 {
			replay(2)
		}
		synctest.Wait() // all ten wait
		slow.let <- struct{}{}
		<-slow.begun // one read for all of them: another would wait here for ever
		slow.let <- struct{}{}
		all.Wait()
	})
}

// A position after which the log does not keep everything any more is not recovered, and one after which nothing is missing is.
func TestTail_recoversWhatIsKept(t *testing.T) {
	f := start(t, tail.Config{}, 5)
	f.acquire(t)
	f.publish(t, 8) // the log keeps the last five
	var at bus.Position
	for at.Offset < 8 {
		at = f.sink.message(t).Position
	}
	for _, c := range []struct {
		after bus.Position
		want  bool
	}{
		{at, true},
		{bus.Position{Epoch: at.Epoch, Offset: 5}, true},
		{bus.Position{Epoch: at.Epoch, Offset: 3}, true},
		{bus.Position{Epoch: at.Epoch, Offset: 2}, false},
		{bus.Position{Epoch: at.Epoch, Offset: 9}, false},
		{bus.Position{Epoch: "another", Offset: 3}, false},
	} {
		if got, err := f.Recovers(t.Context(), f.a, at, c.after); err != nil || got != c.want {
			t.Errorf("after %+v: %v, %v", c.after, got, err)
		}
	}
}
