package tail_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/tail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lossy is the memory store behind a feed that drops what a test asks it to: a connection that loses pushes.
type lossy struct {
	*memory.Store
	drop    atomic.Bool
	dropped atomic.Int64
}

// lose runs f while pushes get lost, until n were.
func (l *lossy) lose(t *testing.T, n int, f func()) {
	t.Helper()
	l.drop.Store(true)
	defer l.drop.Store(false)
	before := l.dropped.Load()
	f()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.dropped.Load() < before+int64(n) {
		if time.Now().After(deadline) {
			t.Fatal("the pushes did not get lost")
		}
		<-tick.C
	}
}

type lossyFeed struct {
	bus.Feed
	owner *lossy
}

type lossyReceiver struct {
	bus.Receiver
	owner *lossy
}

func (l *lossy) NewFeed() bus.Feed { return lossyFeed{l.Store.NewFeed(), l} }

func (f lossyFeed) Run(ctx context.Context, r bus.Receiver) error {
	return f.Feed.Run(ctx, lossyReceiver{r, f.owner})
}

func (r lossyReceiver) Deliver(m *bus.Message) {
	if r.owner.drop.Load() {
		r.owner.dropped.Add(1)
		return
	}
	r.Receiver.Deliver(m)
}

// sink keeps what a Tail brings.
type sink struct{ events chan any }

func (s sink) Deliver(m *bus.Message) { s.events <- m }
func (s sink) Gap(g bus.Gap)          { s.events <- g }

func (s sink) next(t *testing.T) any {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return nil
	}
}

func (s sink) message(t *testing.T) *bus.Message {
	t.Helper()
	e := s.next(t)
	m, ok := e.(*bus.Message)
	if !ok {
		t.Fatalf("got %+v instead of a message", e)
	}
	return m
}

type fixture struct {
	*tail.Tail
	store *lossy
	sink  sink
	a     bus.Address
	keep  bus.Retention
}

func start(t *testing.T, cfg tail.Config, length int) fixture {
	t.Helper()
	keep := bus.Retention{Length: length, Age: time.Minute}
	cfg.Namespaces = bus.Namespaces{Default: bus.Namespace{Retention: keep}, Named: map[string]bus.Namespace{"live": {}}}
	f := fixture{store: &lossy{Store: memory.New(memory.Config{})}, sink: sink{make(chan any, 1<<16)}, keep: keep}
	f.Tail = tail.New(f.store, f.sink, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = f.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	f.a = address(t, "channels/kept:"+uuid.NewString())
	return f
}

func address(t *testing.T, s string) bus.Address {
	t.Helper()
	a, err := bus.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (f fixture) publish(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := f.store.Publish(t.Context(), bustest.Admit(bus.Publication{Retention: f.keep, Message: bus.Message{
			ID: uuid.NewString(), To: f.a, Data: []byte("x"), ContentType: bus.Text, Published: time.Now(),
		}}))
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (f fixture) acquire(t *testing.T) bus.Position {
	t.Helper()
	p, err := f.Acquire(t.Context(), f.a)
	if err != nil {
		t.Fatal(err)
	}
	return p[0]
}

// in expects the messages with these offsets next, in order.
func (f fixture) in(t *testing.T, from, to uint64) {
	t.Helper()
	for want := from; want <= to; want++ {
		if m := f.sink.message(t); m.Position.Offset != want {
			t.Fatalf("got offset %d, want %d", m.Position.Offset, want)
		}
	}
}

func TestTail_healsAJumpBeforeTheNextMessage(t *testing.T) {
	f := start(t, tail.Config{CheckInterval: time.Hour, HealPage: 3}, 100)
	f.acquire(t)
	f.publish(t, 2)
	f.in(t, 1, 2)
	f.store.lose(t, 10, func() { f.publish(t, 10) })
	f.publish(t, 1)
	f.in(t, 3, 13)
}

func TestTail_healsWhenInterrupted(t *testing.T) {
	for name, which := range map[string]func(fixture) []bus.Address{
		"one address": func(f fixture) []bus.Address { return []bus.Address{f.a} }, "all": func(fixture) []bus.Address { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tail.Config{CheckInterval: time.Hour}, 100)
			f.acquire(t)
			f.publish(t, 1)
			f.in(t, 1, 1)
			f.store.lose(t, 5, func() { f.publish(t, 5) })
			f.Interrupted(which(f))
			f.in(t, 2, 6)
			f.publish(t, 1)
			f.in(t, 7, 7)
		})
	}
}

func TestTail_findsASilentSubscription(t *testing.T) {
	f := start(t, tail.Config{CheckInterval: 20 * time.Millisecond, CheckParts: 1}, 100)
	f.acquire(t)
	f.store.lose(t, 3, func() { f.publish(t, 3) })
	f.in(t, 1, 3)
}

func TestTail_tellsWhatIsLost(t *testing.T) {
	t.Run("trimmed", func(t *testing.T) {
		f := start(t, tail.Config{CheckInterval: time.Hour}, 3)
		f.acquire(t)
		f.publish(t, 1)
		f.in(t, 1, 1)
		f.store.lose(t, 10, func() { f.publish(t, 10) })
		f.publish(t, 1)
		g, ok := f.sink.next(t).(bus.Gap)
		if !ok || g.From.Offset != 1 || g.To.Offset != 9 || g.Reason != bus.GapTrimmed {
			t.Fatalf("got %+v", g)
		}
		f.in(t, 10, 12)
	})
	t.Run("another epoch", func(t *testing.T) {
		f := start(t, tail.Config{CheckInterval: time.Hour}, 100)
		if err := f.store.CreateChannel(t.Context(), bus.Channel{Address: f.a}, 0); err != nil {
			t.Fatal(err)
		}
		f.acquire(t)
		f.publish(t, 2)
		f.in(t, 1, 2)
		if err := f.store.DeleteChannel(t.Context(), f.a); err != nil {
			t.Fatal(err)
		}
		if m := f.sink.message(t); m.Kind != bus.MessageDeleted {
			t.Fatalf("the end was announced by %+v", m)
		}
		f.publish(t, 1)
		g, ok := f.sink.next(t).(bus.Gap)
		if !ok || g.Reason != bus.GapEpoch || g.From.Epoch == g.To.Epoch || g.To.Offset != 0 {
			t.Fatalf("got %+v", g)
		}
		f.in(t, 1, 1)
	})
}

func TestTail_beginsWhereTheLogIs(t *testing.T) {
	f := start(t, tail.Config{}, 100)
	f.publish(t, 5)
	at := f.acquire(t)
	if at.Offset != 5 || at.Epoch == "" {
		t.Fatalf("position is %+v", at)
	}
	f.publish(t, 1)
	f.in(t, 6, 6)
	var replayed []uint64
	next, err := f.Replay(t.Context(), f.a, bus.Position{Epoch: at.Epoch, Offset: 2}, func(g bus.Gap) { t.Errorf("gap %+v", g) }, func(m *bus.Message) error {
		replayed = append(replayed, m.Position.Offset)
		return nil
	})
	if err != nil || fmt.Sprint(replayed) != "[3 4 5 6]" || next.Offset != 6 {
		t.Errorf("replayed %v to %+v, %v", replayed, next, err)
	}
}

func TestTail_followsOnceAndLeavesAtTheLast(t *testing.T) {
	f := start(t, tail.Config{}, 100)
	f.acquire(t)
	f.acquire(t)
	f.publish(t, 1)
	f.in(t, 1, 1)
	f.Release(f.a)
	f.publish(t, 1)
	f.in(t, 2, 2)
	f.Release(f.a)
	f.Release(f.a) // more than acquired does no harm
	if n := f.Followed(); n != 0 {
		t.Errorf("%d addresses are followed", n)
	}
	f.publish(t, 1)
	if f.acquire(t).Offset != 3 {
		t.Error("the position is not the log's")
	}
	f.publish(t, 1)
	f.in(t, 4, 4)
}

// Everything at once: pushes get lost, followers come and go, and the sequence stays whole.
func TestTail_staysWholeUnderFire(t *testing.T) {
	f := start(t, tail.Config{CheckInterval: 5 * time.Millisecond, CheckParts: 1, HealPage: 7, HoldBytes: 1500}, 100_000)
	f.acquire(t)
	const messages = 3000
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				f.store.drop.Store(false)
				return
			default:
			}
			f.store.drop.Store(i%3 == 0)
			other := address(t, fmt.Sprintf("channels/kept:%d", i%10))
			if _, err := f.Acquire(context.Background(), other, f.a); err != nil {
				t.Error(err)
				return
			}
			f.Release(other, f.a)
			if i%5 == 0 {
				f.Interrupted(nil)
			}
		}
	})
	wg.Go(func() {
		defer close(stop)
		f.publish(t, messages)
	})
	f.in(t, 1, messages)
	wg.Wait()
}

func TestTail_acquireEndsWithItsContext(t *testing.T) {
	f := start(t, tail.Config{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Acquire(ctx, f.a); err == nil {
		t.Error("acquired")
	}
	if f.Followed() != 0 {
		t.Error("something is held")
	}
}
