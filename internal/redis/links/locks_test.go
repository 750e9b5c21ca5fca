package links //nolint:testpackage // it takes the locks of a feed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// gate is a receiver that holds up one address.
type gate struct {
	hold    bus.Address
	held    chan struct{} // closed when a message of it has come
	release chan struct{}
	came    chan *bus.Message
}

func newGate(hold bus.Address) *gate {
	return &gate{hold: hold, held: make(chan struct{}), release: make(chan struct{}), came: make(chan *bus.Message, 1<<16)}
}

func (g *gate) Deliver(m *bus.Message) {
	if m.To == g.hold {
		close(g.held)
		<-g.release
	}
	g.came <- m
}

func (g *gate) Interrupted([]bus.Address) {}

func named(tb testing.TB, format string, args ...any) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress(fmt.Sprintf(format, args...))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// send publishes a live message past the store.
func send(tb testing.TB, c *goredis.Client, a bus.Address) {
	tb.Helper()
	if err := c.Publish(tb.Context(), channelOf(a), "\nx").Err(); err != nil {
		tb.Fatal(err)
	}
}

func (g *gate) expect(tb testing.TB, a bus.Address) {
	tb.Helper()
	select {
	case m := <-g.came:
		if m.To != a {
			tb.Fatalf("got a message to %s", m.To)
		}
	case <-time.After(10 * time.Second):
		tb.Fatal("a delivery waits for somebody else")
	}
}

func follows(tb testing.TB, f *Feed, all ...bus.Address) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 60*time.Second)
	defer cancel()
	if err := f.Subscribe(ctx, all...); err != nil {
		tb.Fatal(err)
	}
}

// A receiver that is busy with an address of one connection holds up no address of another connection. A delivery waits neither
// for the lock that a subscribe or a look at the cluster takes, nor for the lock of another connection.
func TestFeed_deliversPastTheLocksOfOthers(t *testing.T) {
	server := redistest.Start(t)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { _ = c.Close() }()
	g := newGate(named(t, "channels/busy"))
	f := opened(t, server.URL(), g)
	follows(t, f, g.hold)
	busy := f.subs[g.hold].home.Load()
	other := g.hold
	for i := 0; other == g.hold; i++ { // the first of another connection
		a := named(t, "channels/other:%d", i)
		if follows(t, f, a); f.subs[a].home.Load() != busy {
			other = a
		}
	}
	send(t, c, g.hold)
	<-g.held
	release := sync.OnceFunc(func() { close(g.release) })
	defer release()
	func() {
		testkit.Eventually(t, "nobody keeps the lock of the feed while a receiver is busy", f.mu.TryLock)
		defer f.mu.Unlock()
		testkit.Eventually(t, "nobody keeps the lock of the connection", busy.mu.TryLock)
		defer busy.mu.Unlock()
		send(t, c, other)
		g.expect(t, other)
	}()
	release()
	g.expect(t, g.hold)
}

// While a cluster is asked where an address lives, and does not answer, nobody waits for the lock of the feed.
func TestFeed_asksTheClusterWithoutItsLock(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	f := New(plain(clientOf(t, "redis+cluster://"+silent.Addr().String())))
	ctx, cancel := context.WithCancel(t.Context())
	f.begin = func(*link) {} // it runs, and nothing else asks
	var asking sync.WaitGroup
	asking.Go(func() { _ = f.Subscribe(ctx, named(t, "channels/a")) })
	conn, err := silent.Accept() // it was asked
	testkit.Check(t, err)
	free := make(chan struct{})
	go func() {
		_ = f.Ready()
		close(free)
	}()
	select {
	case <-free:
	case <-time.After(10 * time.Second):
		t.Error("the lock is held while the cluster is asked")
	}
	testkit.Check(t, errors.Join(conn.Close(), silent.Close())) // the question ends
	cancel()
	asking.Wait()
	<-free
}

// The address that a busy receiver is told of keeps its order and its one call at a time while it moves to another connection.
func TestFeed_movesAnAddressWithoutTwoCallsAtOnce(t *testing.T) {
	server := redistest.Start(t)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { _ = c.Close() }()
	a := named(t, "channels/moves")
	r := &serial{tb: t, next: make(chan struct{}, 1<<16)}
	f := opened(t, server.URL(), r)
	follows(t, f, a)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	senders.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				send(t, c, a)
			}
		}
	})
	for i := range 200 {
		f.mu.Lock()
		f.move(f.subs[a], f.links[fmt.Sprint(i%singleLinks)])
		f.mu.Unlock()
		for range 3 {
			<-r.next
		}
	}
	close(stop)
	senders.Wait()
}

// overlap is a receiver whose first call takes until it is released, and which notices a second one meanwhile.
type overlap struct {
	held, release, second chan struct{}
	first                 sync.Once
	inside                atomic.Int32
	messages              atomic.Int32
}

func (o *overlap) Deliver(*bus.Message) {
	o.messages.Add(1)
	o.call()
}

func (o *overlap) Interrupted([]bus.Address) { o.call() }

func (o *overlap) call() {
	if o.inside.Add(1) > 1 {
		select {
		case o.second <- struct{}{}:
		default:
		}
	}
	o.first.Do(func() {
		close(o.held)
		<-o.release
	})
	o.inside.Add(-1)
}

// While one connection tells a receiver of an address, the connection that the address moves to does not tell of it. What still
// comes by the former connection is not handed on.
func TestFeed_tellsOfAnAddressThatMovesByOneConnection(t *testing.T) {
	server := redistest.Start(t)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { _ = c.Close() }()
	a := named(t, "channels/moves")
	r := &overlap{held: make(chan struct{}), release: make(chan struct{}), second: make(chan struct{}, 1)}
	f := opened(t, server.URL(), r)
	follows(t, f, a)
	sub := f.subs[a]
	old := sub.home.Load()
	send(t, c, a)
	<-r.held
	release := sync.OnceFunc(func() { close(r.release) })
	defer release()
	f.mu.Lock()
	for _, l := range f.links {
		if l != old {
			f.move(sub, l)
		}
	}
	f.mu.Unlock()
	testkit.Eventually(t, "it is open at its new place", sub.on.Load)
	select {
	case <-r.second:
		t.Error("there are two calls at once")
	case <-time.After(200 * time.Millisecond): // as long as a second call is waited for
	}
	release()
	f.take(sub, old, &bus.Message{To: a})
	if n := r.messages.Load(); n != 1 {
		t.Errorf("%d messages were handed on", n)
	}
}

// serial is a receiver that notices two calls at once: it writes without a lock, which the race detector sees.
type serial struct {
	tb    testing.TB
	calls int
	next  chan struct{}
}

func (s *serial) Deliver(*bus.Message) {
	s.calls++
	select {
	case s.next <- struct{}{}:
	default:
	}
}

func (s *serial) Interrupted([]bus.Address) { s.calls++ }

func BenchmarkFeed_checkSlots(b *testing.B) {
	g := newGate(bus.Address{})
	f := opened(b, redistest.StartCluster(b).URL(), g)
	all := make([]bus.Address, 0, 50_000)
	for i := range cap(all) {
		all = append(all, named(b, "channels/bench:%d", i))
	}
	follows(b, f, all...)
	b.ReportAllocs()
	for look := uint16(0); b.Loop(); look++ {
		f.checkSlots(b.Context(), look)
	}
	b.ReportMetric(float64(len(f.slots)), "slots")
}
