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

// idle returns an edge that does not run: a test runs the rounds of its shards.
func idle(t *testing.T, store edge.Store, cfg edge.Config) *edge.Edge {
	t.Helper()
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: rpc.NewPipe(), InternalKey: secret})
	check(t, err)
	t.Cleanup(func() { check(t, conn.Close()) })
	cfg.Node = "test"
	cfg.Namespaces = bus.Namespaces{Default: bus.Namespace{Retention: bus.Retention{Length: 1000, Age: time.Hour}}}
	e, err := edge.New(store, edge.Conns{Auth: conn, Publish: conn}, []dialect.Dialect{native.Proto{}}, cfg, slog.New(slog.DiscardHandler), nil)
	check(t, err)
	return e
}

// A shard that is slower than the feed keeps no more than its bound. What it did not keep is read from the log, in order, and of
// a live address told as a gap.
func TestShard_slowerThanTheFeed(t *testing.T) {
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
			durable := edge.Follow(t, idle(t, c, tc.cfg), a, 0)
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
	t.Run("a small one behind a large one that was not kept", func(t *testing.T) {
		a, err := bus.ParseAddress("channels/kept:sizes")
		check(t, err)
		c := newChronicle(a)
		f := edge.Follow(t, idle(t, c, edge.Config{ShardBytes: 4000}), a, 0)
		f.Place(c.top)
		f.Start(c.top, nil)
		h := &heard{c: c, at: c.top}
		for _, size := range []int{1, 5000, 1, 1} {
			m := c.append(a)
			m.Data = make([]byte, size)
			f.Deliver(m)
		}
		if n := f.Waiting(); n != 1 {
			t.Errorf("%d messages wait for the shard, where only the first was kept before one had no room", n)
		}
		f.Turn()
		for !f.Quiet() {
			runtime.Gosched()
		}
		for range 4 {
			check(t, h.take(f.Read()))
		}
		if h.at != c.top {
			t.Errorf("the client is at %v, the log at %v", h.at, c.top)
		}
		f.Leave()
	})
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

// What subscriptions hold while they replay is bounded: in messages and bytes of each, and in bytes of all. The rest is read from
// the log.
func TestSubscription_holdsABoundOfBytes(t *testing.T) {
	const size = 64 << 10
	for _, tc := range []struct {
		name      string
		cfg       edge.Config
		followers int
		messages  int // of size, that are held at most
	}{
		{"by bytes", edge.Config{HoldBytes: 3*size + size/2}, 1, 3},
		{"by messages", edge.Config{HoldLimit: 5}, 1, 5},
		{"by bytes of all", edge.Config{HoldTotal: runtime.GOMAXPROCS(0) * (6*size + size/2)}, 4, 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := bus.ParseAddress("channels/kept:held")
			check(t, err)
			e := idle(t, newChronicle(a), tc.cfg)
			all := make([]*edge.Following, tc.followers)
			for i := range all {
				all[i] = edge.Follow(t, e, a, 0)
				all[i].Place(bus.Position{Epoch: "e", Offset: 1})
			}
			f := all[0]
			for i := range 64 {
				f.Deliver(&bus.Message{ID: "1", To: a, Data: make([]byte, size), Position: bus.Position{Epoch: "e", Offset: uint64(i + 2)}}) //nolint:gosec // small
			}
			f.Turn()
			if n := f.Held(); n/size != tc.messages {
				t.Errorf("%d bytes are held, which is not %d messages", n, tc.messages)
			}
			for _, f := range all {
				f.Leave()
			}
			if n := f.Held(); n != 0 {
				t.Errorf("%d bytes are held after the end", n)
			}
		})
	}
}
