package publish_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// flaky is a store whose next read of some kind fails, and whose reads of a log break off after some pages.
type flaky struct {
	*memory.Store
	tops  atomic.Bool
	since atomic.Int64 // how many reads go well before the one that fails; negative for all of them
}

func (f *flaky) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	if f.tops.CompareAndSwap(true, false) {
		return make([]bus.Position, len(addresses)), bus.AllFailed(len(addresses), bus.ErrStoreUnavailable)
	}
	return f.Store.Tops(ctx, addresses)
}

func (f *flaky) Since(ctx context.Context, a bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	if f.since.Load() >= 0 && f.since.Add(-1) < 0 {
		return bus.Page{}, bus.ErrStoreUnavailable
	}
	return f.Store.Since(ctx, a, r, after, limit)
}

// A subscribe that fails half-way is as if it had never been sent: nothing comes of it with a hole, and it may be repeated.
func TestSubscribe_failedHalfWayLeavesNothingBehind(t *testing.T) {
	const messages = 600 // of more than one page
	for name, fail := range map[string]func(*flaky){
		"its position cannot be read":        func(f *flaky) { f.tops.Store(true) },
		"its first page cannot be read":      func(f *flaky) { f.since.Store(0) },
		"a later page cannot be read":        func(f *flaky) { f.since.Store(1) },
		"the last of its pages is not there": func(f *flaky) { f.since.Store(2) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &flaky{}
			h := startOn(t, publish.Config{}, func(s *memory.Store) publish.Store {
				store.Store = s
				store.since.Store(-1)
				return store
			})
			for i := range messages {
				h.pub("channels/long:x", fmt.Sprint(i))
			}
			top, errs := h.store.Tops(t.Context(), []bus.Address{address(t, "channels/long:x")})
			testkit.Check(t, bus.FirstError(errs))
			st, err := h.publish.Subscribe(t.Context())
			testkit.Check(t, err)
			next := func() *publishv1.SubscribeResponse {
				t.Helper()
				for {
					r, err := st.Recv()
					testkit.Check(t, err)
					if r.GetHeartbeat() == nil {
						return r
					}
				}
			}
			subscribe := func(sequence uint64, to string) {
				t.Helper()
				testkit.Check(t, st.Send(&publishv1.SubscribeRequest{Sequence: sequence, Command: &publishv1.SubscribeRequest_Subscribe{
					Subscribe: &publishv1.ConsumeRequest{Address: to, After: &publishv1.Position{Epoch: top[0].Epoch, Offset: 1}},
				}}))
			}
			fail(store)
			subscribe(1, "channels/long:x")
			r := next()
			for r.GetError() == nil {
				r = next()
			}
			if r.GetSequence() != 1 || r.GetError().GetReason() != bus.ErrStoreUnavailable.Reason {
				t.Fatalf("answered %v", r)
			}
			h.pub("channels/long:x", fmt.Sprint(messages))
			subscribe(2, "channels/long:other") // whatever came of the first would come before this answer
			for r = next(); r.GetSequence() != 2; r = next() {
				t.Fatalf("came of a refused subscribe: %v", r)
			}
			for r.GetGap() == nil { // its position is of another log
				r = next()
			}
			subscribe(3, "channels/long:x")
			if r = next(); r.GetSequence() != 3 || r.GetSubscribed() == nil {
				t.Fatalf("the repeat: %v", r)
			}
			for want := 1; want <= messages; want++ {
				if r = next(); string(r.GetMessage().GetData()) != fmt.Sprint(want) {
					t.Fatalf("got %v, want message %d", r, want)
				}
			}
		})
	}
}

func address(tb testing.TB, s string) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress(s)
	testkit.Check(tb, err)
	return a
}
