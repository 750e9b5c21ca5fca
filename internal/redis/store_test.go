package redis_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

func TestMain(m *testing.M) {
	// go-redis tries a dead server once a second, and notices only then that its pool was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func open(tb testing.TB, url string) *redis.Store {
	tb.Helper()
	return openWith(tb, url, 0)
}

func openWith(tb testing.TB, url string, replicas int) *redis.Store {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s, err := redis.Open(redis.Config{URL: url, Replicas: replicas, Events: bustest.Events}, log)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestStore_single(t *testing.T) {
	server := redistest.Start(t)
	bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, server.URL()) })

	// The log says of a key of another type which one ours has. Whatever the store has made by now is of that type.
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, raw.Close()) }()
	names, err := raw.Keys(t.Context(), "tl:*").Result()
	testkit.Check(t, err)
	if len(names) < 100 {
		t.Errorf("there are only %d keys", len(names))
	}
	for _, name := range names {
		is, err := raw.Type(t.Context(), name).Result()
		testkit.Check(t, err)
		if want := redis.TypeOf(name); is != want && is != "none" {
			t.Errorf("%s is a %s, and the log would say that it has to be a %s", name, is, want)
		}
	}
}

func TestStore_valkey(t *testing.T) {
	url := redistest.StartValkey(t).URL()
	bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, url) })
}

func TestStore_cluster(t *testing.T) {
	url := redistest.StartCluster(t).URL()
	bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, url) })
}

func TestStore_sentinel(t *testing.T) {
	url := redistest.StartSentinel(t).URL()
	bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, url) })
}

// receiver counts what a feed brings.
type receiver struct {
	messages    chan *bus.Message
	interrupted chan struct{}
}

func (r *receiver) Deliver(m *bus.Message) { r.messages <- m }

func (r *receiver) Interrupted([]bus.Address) {
	select {
	case r.interrupted <- struct{}{}:
	default:
	}
}

func follow(tb testing.TB, s *redis.Store, a bus.Address) (*receiver, bus.Feed) {
	tb.Helper()
	r := &receiver{messages: make(chan *bus.Message, 1<<16), interrupted: make(chan struct{}, 1)}
	f := s.NewFeed()
	run(tb, f, r)
	sub, stop := context.WithTimeout(tb.Context(), 10*time.Second)
	defer stop()
	if err := f.Subscribe(sub, a); err != nil {
		tb.Fatal(err)
	}
	testkit.Eventually(tb, "the feed is ready", func() bool { return f.Ready() == nil })
	return r, f
}

// run runs a feed until the test ends.
func run(tb testing.TB, f bus.Feed, r bus.Receiver) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = f.Run(ctx, r) })
	tb.Cleanup(func() { cancel(); done.Wait() })
}

var keep = bus.Retention{Length: 1000, Age: time.Minute}

func publication(a bus.Address) bus.Publication {
	return bus.Publication{Retention: keep, Message: bus.Message{
		ID: uuid.NewString(), To: a, Data: []byte("x"), ContentType: bus.Text, Published: time.Now(),
	}}
}

// arrives publishes until a message comes back, and says how long that took.
func arrives(tb testing.TB, s *redis.Store, r *receiver, a bus.Address) time.Duration {
	tb.Helper()
	start := time.Now()
	testkit.Eventually(tb, "a message arrives", func() bool {
		_, _ = s.Publish(tb.Context(), bustest.Admit(publication(a)))
		select {
		case <-r.messages:
			return true
		default:
			return false
		}
	})
	return time.Since(start)
}

func drain(r *receiver) {
	for len(r.messages) > 0 {
		<-r.messages
	}
}

func TestFeed_survivesACrashOfRedis(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	a, err := bus.ParseAddress("channels/crash")
	if err != nil {
		t.Fatal(err)
	}
	r, f := follow(t, s, a)
	arrives(t, s, r, a)
	server.Kill9()
	testkit.Eventually(t, "the feed is not ready", func() bool { return f.Ready() != nil })
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping answers without a server")
	}
	drain(r)
	server.Restart()
	<-r.interrupted
	arrives(t, s, r, a)
	testkit.Eventually(t, "the feed is ready again", func() bool { return f.Ready() == nil })
}

func TestFeed_survivesKilledConnections(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a, err := bus.ParseAddress("channels/kill")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := follow(t, s, a)
	for range 3 {
		if out, err := server.CLI("client", "kill", "type", "pubsub"); err != nil {
			t.Fatal(out, err)
		}
		<-r.interrupted
		drain(r)
		arrives(t, s, r, a)
	}
}

func TestFeed_followsASentinelFailover(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL())
	a, err := bus.ParseAddress("channels/failover")
	if err != nil {
		t.Fatal(err)
	}
	r, f := follow(t, s, a)
	arrives(t, s, r, a)
	sentinel.Master.Kill9()
	drain(r)
	<-r.interrupted
	t.Logf("delivery works again %s after the reconnect", arrives(t, s, r, a))
	testkit.Eventually(t, "the feed is ready again", func() bool { return f.Ready() == nil })
}
