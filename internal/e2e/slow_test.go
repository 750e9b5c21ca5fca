package e2e_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// rss is how much memory of a process is resident, in KiB.
func (p *process) rss() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	testkit.Check(p.tb, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}

// latencies collects how long messages took from before their publish.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(m *publishv1.Message) {
	head, _, _ := strings.Cut(string(m.GetData()), " ")
	sent, _ := strconv.ParseInt(strings.TrimPrefix(head, `"`), 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, time.Since(time.Unix(0, sent)))
}

// p99 returns the 99th percentile so far and begins anew.
func (l *latencies) p99() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.all)
	p := percentile(l.all, 0.99)
	l.all = nil
	return p
}

// Subscribers of a durable channel stop reading for a while (60 s with -long). The others go on, and the stopped ones receive
// everything when they read again. What they cost and what the others feel is logged.
func TestSlow_readersCatchUp(t *testing.T) {
	t.Setenv("GOGC", "100") // what grows is memory in use then, not headroom of the collector
	s := startSystem(t)
	const to, readers, stopped = "channels/orders:slow", 40, 10
	stall := 8 * time.Second
	if *long {
		stall = time.Minute
	}
	var lat latencies
	type reader struct {
		next atomic.Int64
		bad  atomic.Int64
	}
	gate := make(chan struct{}) // closed when the stopped ones may read again
	var stalling atomic.Bool
	all := make([]*reader, readers)
	for i := range all {
		r := &reader{}
		all[i] = r
		token := s.token(&authv1.IssueTokenRequest{Client: fmt.Sprintf("reader-%d", i)})
		c, err := client.New(client.Config{
			URL: "http://" + s.edgeAt[0], MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
			Token: func(context.Context) (string, error) { return token, nil },
			OnMessage: func(m *publishv1.Message) {
				if n := int64(m.GetPosition().GetOffset()); !r.next.CompareAndSwap(n-1, n) {
					r.bad.Add(1)
				}
				if i < stopped && stalling.Load() {
					<-gate
				} else if i >= stopped {
					lat.add(m)
				}
			},
			OnGap: func(*publishv1.Gap) { r.bad.Add(1) },
		})
		testkit.Check(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { _ = c.Run(ctx) })
		t.Cleanup(func() { cancel(); done.Wait() })
		_, err = c.Subscribe(t.Context(), client.Subscription{Address: to})
		testkit.Check(t, err)
	}
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)

	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	sent := int64(0)
	padding := strings.Repeat("x", 8<<10)
	publishFor := func(d time.Duration) {
		tick := time.NewTicker(5 * time.Millisecond) // 200 a second
		defer tick.Stop()
		for start := time.Now(); time.Since(start) < d; <-tick.C {
			_, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: fmt.Appendf(nil, `"%d %s"`, time.Now().UnixNano(), padding)})
			testkit.Check(t, err)
			sent++
		}
	}
	publishFor(2 * time.Second) // warm
	lat.p99()
	publishFor(stall)
	before := lat.p99()
	rss := s.edges[0].rss()
	stalling.Store(true)
	publishFor(stall)
	during := lat.p99()
	grown := s.edges[0].rss() - rss
	release()
	for i, r := range all {
		testkit.Within(t, fmt.Sprintf("reader %d has all %d messages", i, sent), 60*time.Second, func() bool { return r.next.Load() == sent || r.bad.Load() > 0 })
		if r.bad.Load() > 0 {
			t.Errorf("reader %d got %d messages out of order, twice or after a gap", i, r.bad.Load())
		}
	}
	t.Logf("%d of %d readers stopped for %s: memory of the edge grew by %d KiB for each; p99 of the others %s before, %s during",
		stopped, readers, stall, grown/stopped, before, during)
}
