package edge_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// A shard that is slower than the feed keeps no more than its bound. What it did not keep is read from the log, in order, and of
// a live address told as a gap.
func TestShard_slowerThanTheFeed(t *testing.T) {
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: rpc.NewPipe(), InternalKey: secret})
	check(t, err)
	defer func() { check(t, conn.Close()) }()
	for _, tc := range []struct {
		name  string
		cfg   edge.Config
		limit int
	}{
		{"by messages", edge.Config{ShardParcels: 4}, 4},
		{"by bytes", edge.Config{ShardBytes: 1100}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := bus.ParseAddress("channels/kept:flood")
			check(t, err)
			c := newChronicle(a)
			tc.cfg.Node = "test"
			tc.cfg.Namespaces = bus.Namespaces{Default: bus.Namespace{Retention: bus.Retention{Length: 1000, Age: time.Hour}}}
			e, err := edge.New(c, edge.Conns{Auth: conn, Publish: conn}, []dialect.Dialect{native.Proto{}}, tc.cfg, slog.New(slog.DiscardHandler), nil)
			check(t, err)
			durable := edge.Follow(t, e, a, 0)
			durable.Place(c.top)
			durable.Start(c.top, nil)
			h := &heard{c: c, at: c.top}
			const flood = 50
			for range flood {
				durable.Deliver(c.append(a))
			}
			if n := durable.Waiting(); n > tc.limit || n == 0 {
				t.Errorf("%d messages wait for the shard, the bound is %d", n, tc.limit)
			}
			durable.Turn()
			for !durable.Quiet() {
				runtime.Gosched()
			}
			for i := range flood {
				if err := h.take(durable.Read()); err != nil || h.at.Offset != uint64(i+1) { //nolint:gosec // small
					t.Fatalf("message %d: %v, the client is at %v", i, err, h.at)
				}
			}
			durable.Leave()
		})
	}
	t.Run("live", func(t *testing.T) {
		a, err := bus.ParseAddress("channels/live:flood")
		check(t, err)
		h := start(t, edge.Config{ShardParcels: 4})
		live := edge.Follow(t, h.edge, a, 0)
		live.Place(bus.Position{})
		live.Start(bus.Position{}, nil)
		live.Still(func() {
			for i := range 10 {
				live.Deliver(&bus.Message{ID: fmt.Sprint(i), To: a, Data: []byte(`1`)})
			}
		})
		for live.Waiting() > 0 {
			runtime.Gosched()
		}
		live.Deliver(&bus.Message{ID: "10", To: a, Data: []byte(`1`)})
		had, next, gap := 0, 0, false // the shard may begin to take before everything has come: what it takes then follows the gap
		for next <= 10 {
			f := live.Read()
			switch m, g := f.GetMessage(), f.GetGap(); {
			case m != nil:
				n, err := strconv.Atoi(m.GetId())
				if check(t, err); n < next || n > next && !gap {
					t.Fatalf("message %d came where %d was next; a gap before it: %t", n, next, gap)
				}
				had, next, gap = had+1, n+1, false
			case g.GetReason() == "slow_consumer" && g.GetAddress() == a.String():
				gap = true
			default:
				t.Fatalf("after %d messages came %v", had, f)
			}
		}
		if had < 5 || had > 10 {
			t.Errorf("%d of 11 messages came; the bound is 4 at once", had)
		}
		live.Leave()
	})
}

// What a subscription holds while it replays is bounded in bytes; the rest is read from the log.
func TestSubscription_holdsABoundOfBytes(t *testing.T) {
	a, err := bus.ParseAddress("channels/kept:held")
	check(t, err)
	h := start(t, edge.Config{HoldBytes: 100 << 10})
	f := edge.Follow(t, h.edge, a, 0)
	f.Place(bus.Position{Epoch: "e", Offset: 1})
	f.Still(func() {
		for i := range 64 {
			f.Deliver(&bus.Message{ID: "1", To: a, Data: make([]byte, 64<<10), Position: bus.Position{Epoch: "e", Offset: uint64(i + 2)}}) //nolint:gosec // small
		}
	})
	eventually(t, func() bool { return f.Held() > 0 })
	if n := f.Held(); n > 100<<10 {
		t.Errorf("%d bytes are held", n)
	}
	f.Leave()
	if n := f.Held(); n != 0 {
		t.Errorf("%d bytes are held after the end", n)
	}
}
