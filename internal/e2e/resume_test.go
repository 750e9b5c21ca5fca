package e2e_test

import (
	"context"
	"fmt"
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

// steady publishes numbers to a channel at a rate, by a stream, until stop is called; stop returns how many were OK.
func (s *system) steady(to string, perSecond int) (stop func() int) {
	s.tb.Helper()
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(s.tb, s.publishAt, s.apiKey))
	stream, err := grpc.PublishStream(context.WithoutCancel(s.tb.Context()))
	testkit.Check(s.tb, err)
	done := make(chan struct{})
	var both sync.WaitGroup
	acked := 0
	both.Go(func() {
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			for _, r := range resp.GetResults() {
				if e := r.GetResult().GetError(); e != nil {
					s.tb.Errorf("publish %d was refused: %s", r.GetSequence(), e.GetMessage())
				} else {
					acked++
				}
			}
		}
	})
	both.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		start := time.Now()
		for n := 0; ; {
			select {
			case <-done:
				_ = stream.CloseSend()
				return
			case <-tick.C:
			}
			for due := int(time.Since(start).Seconds() * float64(perSecond)); n < due; n++ {
				if err := stream.Send(&publishv1.PublishStreamRequest{
					Sequence: uint64(n), Publish: &publishv1.PublishRequest{To: to, Data: fmt.Append(nil, n)},
				}); err != nil {
					return
				}
			}
		}
	})
	return func() int {
		close(done)
		both.Wait()
		return acked
	}
}

// Clients lose their connection again and again while their channel is published to: each sees every message once
// and in order.
func TestResume_underFire(t *testing.T) {
	s := startSystem(t)
	const to, people, cuts = "channels/orders:fire", 20, 50
	// The edges are reached through links that are cut: the connection is lost without a word, as in a tunnel.
	type reader struct {
		cut  *wire
		next atomic.Int64 // the number that has to come next
		bad  atomic.Int64
		gaps atomic.Int64
	}
	var readers []*reader
	for i := range people {
		r := &reader{cut: newWire(t, s.edgeAt[i%2])}
		token := s.token(&authv1.IssueTokenRequest{Client: fmt.Sprintf("reader-%d", i)})
		c, err := client.New(client.Config{
			URL: "http://" + r.cut.address, JSON: i == 0, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
			Token: func(context.Context) (string, error) { return token, nil },
			OnMessage: func(m *publishv1.Message) {
				var n int64
				if _, err := fmt.Sscan(string(m.GetData()), &n); err != nil || !r.next.CompareAndSwap(n, n+1) {
					r.bad.Add(1)
				}
			},
			OnGap:          func(*publishv1.Gap) { r.gaps.Add(1) },
			OnDisconnected: func(error) {},
		})
		testkit.Check(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { _ = c.Run(ctx) })
		t.Cleanup(func() { cancel(); done.Wait() })
		_, err = c.Subscribe(t.Context(), client.Subscription{Address: to})
		testkit.Check(t, err)
		readers = append(readers, r)
	}
	start := time.Now()
	stop := s.steady(to, 2000)
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() {
			for range cuts {
				at := r.next.Load()
				r.cut.reset()
				testkit.Within(t, "the reader goes on after a cut", 20*time.Second, func() bool { return r.next.Load() > at || r.bad.Load() > 0 })
			}
		})
	}
	all.Wait()
	sent := stop()
	took := time.Since(start)
	for i, r := range readers {
		testkit.Within(t, fmt.Sprintf("reader %d has all %d", i, sent), time.Minute, func() bool { return int(r.next.Load()) >= sent || r.bad.Load() > 0 })
		if r.bad.Load() > 0 || r.gaps.Load() > 0 || int(r.next.Load()) != sent {
			t.Errorf("reader %d has %d of %d in order, %d out of order or repeated, %d gaps", i, r.next.Load(), sent, r.bad.Load(), r.gaps.Load())
		}
	}
	t.Logf("%d resumes while %d messages were published in %s (%.0f/s): nothing lost, repeated or out of order",
		people*cuts, sent, took.Round(time.Millisecond), float64(sent)/took.Seconds())
}
