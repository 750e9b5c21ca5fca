package redis_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/testkit"
)

// landing is a sink that counts what arrives.
type landing struct {
	mu   sync.Mutex
	seen map[bus.Address]int
	gaps int
	last time.Time
}

func (l *landing) Deliver(m *bus.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[m.To]++
	l.last = time.Now()
}

func (l *landing) Gap(bus.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps++
}

func (l *landing) count() (n, gaps int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.seen {
		n += c
	}
	return n, l.gaps, l.last
}

// followed follows quiet channels, as one edge does.
func followed(b *testing.B, s *redis.Store, n int) (*tail.Tail, *landing, []bus.Address) {
	b.Helper()
	l := &landing{seen: map[bus.Address]int{}}
	tl := tail.New(s, l, tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: long}}})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = tl.Run(ctx) })
	b.Cleanup(func() { cancel(); done.Wait() })
	all := make([]bus.Address, n)
	for i := range all {
		a, err := bus.ParseAddress(fmt.Sprint("channels/quiet", i))
		testkit.Check(b, err)
		all[i] = a
	}
	for i := 0; i < n; i += 500 {
		_, err := tl.Acquire(ctx, all[i:min(i+500, n)]...)
		testkit.Check(b, err)
	}
	return tl, l, all
}

// BenchmarkCut measures how long the first message of each of 100 channels takes, of 50,000 that are followed. Just before,
// every subscription connection is cut (CLIENT KILL TYPE pubsub), or Sentinel replaces the master. With Sentinel, the time
// begins when publishing works again.
func BenchmarkCut(b *testing.B) {
	const quiet, spoken = 50_000, 100
	speak := func(b *testing.B, s *redis.Store, all []bus.Address) {
		b.Helper()
		for i := range spoken {
			p := publication(all[i*len(all)/spoken])
			p.Retention = long
			for {
				if _, err := s.Publish(b.Context(), bustest.Admit(p)); err == nil {
					break
				}
			}
		}
	}
	measure := func(b *testing.B, s *redis.Store, cut func()) {
		b.Helper()
		tl, l, all := followed(b, s, quiet)
		speak(b, s, all)
		testkit.Eventually(b, "the first come", func() bool { n, _, _ := l.count(); return n == spoken })
		var worst time.Duration
		for i := range b.N {
			cut()
			start := time.Now()
			speak(b, s, all)
			testkit.Eventually(b, "all have come", func() bool { n, _, _ := l.count(); return n >= spoken*(i+2) })
			_, _, last := l.count()
			worst = max(worst, last.Sub(start))
			testkit.Eventually(b, "the feed is ready", func() bool { return tl.Ready() == nil && tl.Stats().Healing == 0 })
		}
		b.ReportMetric(worst.Seconds(), "s-to-last/op")
	}
	b.Run("kill", func(b *testing.B) {
		server := redistest.Start(b)
		s := open(b, server.URL())
		measure(b, s, func() {
			_, err := server.CLI("client", "kill", "type", "pubsub")
			testkit.Check(b, err)
		})
	})
	b.Run("failover", func(b *testing.B) {
		sentinel := redistest.StartSentinel(b)
		s := open(b, sentinel.URL())
		measure(b, s, func() {
			sentinel.Master.Kill9()
			p := publication(bus.Broadcast)
			testkit.Eventually(b, "publishing works again", func() bool {
				_, err := s.Publish(b.Context(), bustest.Admit(p))
				return err == nil
			})
		})
	})
}
