package fan_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/services/edge/fan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// idle returns a hub whose channels keep their messages. It does not run: a test runs the rounds of its shards.
func idle(tb testing.TB, store tail.Store, cfg fan.Config) *fan.Rig {
	tb.Helper()
	cfg.Dialects = []dialect.Dialect{native.Proto{}}
	cfg.Namespaces = bus.Namespaces{Default: bus.Namespace{Retention: bus.Retention{Length: 1000, Age: time.Hour}}}
	return fan.NewRig(tb, store, cfg)
}

// rig returns a hub over the memory store, whose channels keep nothing.
func rig(tb testing.TB, cfg fan.Config) *fan.Rig {
	tb.Helper()
	cfg.Dialects = []dialect.Dialect{native.Proto{}}
	return fan.NewRig(tb, memory.New(memory.Config{}), cfg)
}

// A shard that is slower than the feed keeps no more than its bound. What it did not keep is read from the log, in order, and of
// a live address told as a gap.
func TestShard_slowerThanTheFeed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cfg   fan.Config
		limit int
	}{
		{"by messages", fan.Config{ShardParcels: 4}, 4},
		{"by bytes", fan.Config{ShardBytes: 1100}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := bus.ParseAddress("channels/kept:flood")
			testkit.Check(t, err)
			c := newChronicle(a)
			durable := idle(t, c, tc.cfg).Follow(a, 0)
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
				if err := h.take(durable.Read()); err != nil || h.at.Offset != uint64(i+1) {
					t.Fatalf("message %d: %v, the client is at %v", i, err, h.at)
				}
			}
			durable.Leave()
		})
	}
	t.Run("a small one behind a large one that was not kept", func(t *testing.T) {
		a, err := bus.ParseAddress("channels/kept:sizes")
		testkit.Check(t, err)
		c := newChronicle(a)
		f := idle(t, c, fan.Config{ShardBytes: 4000}).Follow(a, 0)
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
			testkit.Check(t, h.take(f.Read()))
		}
		if h.at != c.top {
			t.Errorf("the client is at %v, the log at %v", h.at, c.top)
		}
		f.Leave()
	})
	t.Run("live", func(t *testing.T) {
		a, err := bus.ParseAddress("channels/live:flood")
		testkit.Check(t, err)
		r := rig(t, fan.Config{ShardParcels: 4})
		r.Run()
		live := r.Follow(a, 0)
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
				if testkit.Check(t, err); n < next || n > next && !gap {
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
		cfg       fan.Config
		followers int
		messages  int // of size, that are held at most
	}{
		{"by bytes", fan.Config{HoldBytes: 3*size + size/2}, 1, 3},
		{"by messages", fan.Config{HoldLimit: 5}, 1, 5},
		{"by bytes of all", fan.Config{HoldTotal: runtime.GOMAXPROCS(0) * (6*size + size/2)}, 4, 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := bus.ParseAddress("channels/kept:held")
			testkit.Check(t, err)
			e := idle(t, newChronicle(a), tc.cfg)
			all := make([]*fan.Following, tc.followers)
			for i := range all {
				all[i] = e.Follow(a, 0)
				all[i].Place(bus.Position{Epoch: "e", Offset: 1})
			}
			f := all[0]
			for i := range 64 {
				f.Deliver(&bus.Message{ID: "1", To: a, Data: make([]byte, size), Position: bus.Position{Epoch: "e", Offset: uint64(i + 2)}})
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

// A process that stood still writes nothing to a token that ended meanwhile, and takes no command. Neither what was due, nor
// what waited, nor what is read from the log goes out.
func TestExpiry_afterThisProcessStoodStill(t *testing.T) {
	a, err := bus.ParseAddress("channels/kept:x")
	testkit.Check(t, err)
	for _, tc := range []struct {
		name string
		do   func(f *fan.Following)
	}{
		{"what is due", func(f *fan.Following) {
			f.Expire(time.Now())
			f.Deliver(&bus.Message{ID: "1", To: a, Data: []byte(`1`)})
			f.Turn()
		}},
		{"what is held", func(f *fan.Following) {
			f.Hold()
			f.Deliver(&bus.Message{ID: "1", To: a, Data: []byte(`1`)})
			f.Turn()
			f.Expire(time.Now())
			f.Begin()
		}},
		{"what is replayed", func(f *fan.Following) {
			f.Expire(time.Now())
			f.Paced([]byte{0x82, 1, 'x'})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := rig(t, fan.Config{}).Follow(a, 0)
			f.Place(bus.Position{})
			f.Start(bus.Position{}, nil)
			tc.do(f)
			if n := f.Count(); n > 0 {
				t.Errorf("%d messages went out", n)
			}
			if why := f.Refused(); !strings.Contains(why, "TOKEN_EXPIRED") {
				t.Errorf("the session was ended with %q", why)
			}
			f.Leave()
		})
	}
}
