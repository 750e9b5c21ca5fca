package behind_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/services/edge/behind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("the store is away")

// What is put goes out in order, in batches, also when the store refuses some of them, and when the line ends.
func TestQueue_keepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int // of the worker, until it ends
		var calls, last atomic.Int64
		var away atomic.Bool
		away.Store(true)
		l := behind.NewLine(0, 10, func(_ context.Context, batch []int) error {
			calls.Add(1)
			if away.Load() {
				return errAway
			}
			got = append(got, batch...)
			last.Store(int64(got[len(got)-1]))
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		written := make(chan bool, 1)
		go func() { written <- l.Run(ctx) }()
		for n := range 5 {
			l.Put(n + 1)
			synctest.Wait()
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("a store that refuses was called %d times for what came while the queue rests", n)
		}
		away.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := calls.Load(); n != 3 || last.Load() != 5 {
			t.Errorf("after a rest %d calls have written up to %d, want all five in two", n-1, last.Load())
		}
		away.Store(true)
		l.Put(6)
		synctest.Wait()
		stop()
		l.Put(7)
		time.Sleep(3500 * time.Millisecond) // it is stopping
		away.Store(false)
		if !<-written || !slices.Equal(got, []int{1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("at the end %v are written", got)
		}
	})
}

// The end waits no longer than it may, and says that something is left.
func TestQueue_endsWithinABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := behind.NewLine(0, 10, func(context.Context, []int) error { return errAway })
		ctx, stop := context.WithCancel(t.Context())
		written := make(chan bool, 1)
		go func() { written <- l.Run(ctx) }()
		l.Put(1)
		synctest.Wait()
		stop()
		start := time.Now()
		if ok, took := <-written, time.Since(start); ok || took != 10*time.Second || l.Filled() != 1 {
			t.Errorf("ended after %s: everything is written: %t, %d left", took, ok, l.Filled())
		}
	})
}

// A queue takes what there is room for, and what has no size or is forced besides.
func TestQueue_hasABound(t *testing.T) {
	l := behind.NewLine(10, 10, nil)
	for i, want := range []bool{true, true, false, true} {
		if n := []int{4, 5, 2, 1}[i]; l.Put(n) != want {
			t.Errorf("%d is taken: %t", n, !want)
		}
	}
	l.Force(3)
	if !l.Put(0) || l.Put(1) || l.Filled() != 13 {
		t.Errorf("filled with %d", l.Filled())
	}
}

// Many may put at once; each number is written once.
func TestQueue_concurrently(t *testing.T) {
	const each, writers = 200, 8
	var sum int
	l := behind.NewLine(0, 64, func(_ context.Context, batch []int) error {
		for _, n := range batch {
			sum += n
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan bool, 1)
	go func() { written <- l.Run(ctx) }()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				l.Put(1)
			}
		})
	}
	all.Wait()
	stop()
	if !<-written || sum != each*writers || l.Filled() != 0 {
		t.Errorf("%d of %d are written, %d wait", sum, each*writers, l.Filled())
	}
}
