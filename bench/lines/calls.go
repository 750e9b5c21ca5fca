package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

type connected = edgev1.Connected

// as adds the API key to calls.
func (t *trial) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+t.sys.Key())
}

// closed calls something from so many callers as often as they can, and returns how often, and how long each took.
func closed(ctx context.Context, callers int, d time.Duration, call func(ctx context.Context, w, k int) error) (float64, *load.Hist, error) {
	var g errgroup.Group
	var mu sync.Mutex
	all := &load.Hist{}
	until := time.Now().Add(d)
	for w := range callers {
		g.Go(func() error {
			var h load.Hist
			for k := 0; time.Now().Before(until); k++ {
				at := load.Now()
				if err := call(ctx, w, k); err != nil {
					return err
				}
				h.Add(load.Now() - at)
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(&h)
			return nil
		})
	}
	err := g.Wait()
	return float64(all.Count()) / d.Seconds(), all, err
}

// overload is L6: three times of what can be published is asked for.
func overload(ctx context.Context, t *trial) error {
	const callers = 16
	to := t.sys.Address(peer.Kept, 0)
	publish := func(ctx context.Context, w, k int) error {
		_, err := publishv1.NewPublishServiceClient(t.sys.Conn(w)).Publish(t.as(ctx), &publishv1.PublishRequest{
			To: to, Data: fmt.Appendf(nil, `{"w":%d,"k":%d}`, w, k),
		})
		return err
	}
	capacity, _, err := closed(ctx, callers, t.time/6, publish)
	if err != nil {
		return err
	}
	before := t.sys.Shared().RSS()
	var ok, refused, silent atomic.Int64
	var mu sync.Mutex
	var refusals load.Hist
	due := make(chan int64, 1<<16)
	var g errgroup.Group
	g.Go(func() error {
		_, err := load.Pace(ctx, 3*capacity, t.time, due)
		return err
	})
	var calls sync.WaitGroup
	k := 0
	for range due { // open loop: nobody waits for an answer before the next call
		w := k
		k++
		calls.Go(func() {
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			at := load.Now()
			switch err := publish(call, w, w); status.Code(err) {
			case codes.OK:
				ok.Add(1)
				return
			case codes.DeadlineExceeded, codes.Canceled:
				silent.Add(1)
				return
			}
			refused.Add(1)
			mu.Lock()
			defer mu.Unlock()
			refusals.Add(load.Now() - at)
		})
	}
	calls.Wait()
	if err := g.Wait(); err != nil {
		return err
	}
	after, _, err := closed(ctx, callers, 5*time.Second, publish)
	if err != nil {
		return err
	}
	t.note("publishes that can be carried, 16 callers", capacity, "1/s")
	t.least("answered OK under three times as much", 100*float64(ok.Load())/t.time.Seconds()/capacity, 90, "% of that")
	t.note("refused by the service", float64(refused.Load()), "")
	t.note("without an answer within 5 s, here or there", float64(silent.Load()), "")
	t.most("time of a refusal, p99", ms(refusals.Quantile(0.99)), 50, "ms")
	t.most("memory of the publish service over the start", (t.sys.Shared().RSS()-before)/1024, 256, "MiB")
	t.least("publishes in the 5 s after it", 100*after/capacity, 80, "% of that")
	return nil
}

// inboxes is L9: one client with 10,000 messages to acknowledge, and how long its connect takes.
func inboxes(ctx context.Context, t *trial) error {
	n := t.n(10_000)
	if err := t.sys.Tokens(ctx, 1); err != nil {
		return err
	}
	_, err := t.fill(ctx, n, func(int) *publishv1.PublishRequest {
		return &publishv1.PublishRequest{To: t.sys.Address(peer.Client, 0), Data: []byte(`{"n":1}`), Ack: &publishv1.AckPolicy{}}
	})
	if err != nil {
		return err
	}
	before := t.sys.Edge(0).RSS()
	var came, again atomic.Int64
	opened := make(chan struct{}, 1)
	token := t.sys.Token(0)
	begun := time.Now()
	c, err := client.New(client.Config{
		URL: "ws://" + t.sys.Addr() + "/v1/ws", Token: func(context.Context) (string, error) { return token, nil },
		OnConnected:    func(*connected) { opened <- struct{}{} },
		OnDisconnected: func(error) { again.Add(1) },
		OnMessage:      func(*publishv1.Message) { came.Add(1) },
	})
	if err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { _ = c.Run(running) })
	defer over.Wait()
	defer end()
	select {
	case <-opened:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.most(fmt.Sprintf("connect with %d messages in the inbox", n), time.Since(begun).Seconds(), 5, "s")
	took, err := t.until(ctx, begun, 60*time.Second, nil, func() bool { return came.Load() >= int64(n) })
	if err != nil {
		return err
	}
	t.note("… until all have come", took.Seconds(), "s")
	t.most("… messages that did not come", float64(int64(n)-came.Load()), 0, "")
	t.most("… connections that broke", float64(again.Load()), 0, "")
	t.most("… memory of the edge over the start", (t.sys.Edge(0).PeakRSS()-before)/1024, 32, "MiB")
	return nil
}

// fill publishes n messages in batches.
func (t *trial) fill(ctx context.Context, n int, message func(i int) *publishv1.PublishRequest) (last *publishv1.Position, err error) {
	const batch = 500
	for i := 0; i < n; i += batch {
		req := &publishv1.BatchPublishRequest{}
		for k := i; k < min(n, i+batch); k++ {
			req.Requests = append(req.Requests, message(k))
		}
		resp, err := publishv1.NewPublishServiceClient(t.sys.Conn(0)).BatchPublish(t.as(ctx), req)
		if err != nil {
			return nil, err
		}
		if resp.GetRefused() > 0 {
			for _, r := range resp.GetResults() {
				if e := r.GetError(); e != nil {
					return nil, errors.New(e.GetReason() + ": " + e.GetMessage())
				}
			}
		}
		last = resp.GetResults()[len(resp.GetResults())-1].GetOk().GetPosition()
	}
	return last, nil
}

// history is L10: pages from the middle of a million messages.
func history(ctx context.Context, t *trial) error {
	n := t.n(1_000_000)
	const to = "channels/long:history"
	last, err := t.fill(ctx, n, func(i int) *publishv1.PublishRequest {
		return &publishv1.PublishRequest{To: to, Data: fmt.Appendf(nil, `{"n":%d}`, i)}
	})
	if err != nil {
		return err
	}
	middle := &publishv1.Position{Epoch: last.GetEpoch(), Offset: last.GetOffset() / 2}
	short := 0
	_, calls, err := closed(ctx, 1, t.time/6, func(ctx context.Context, _, _ int) error {
		resp, err := publishv1.NewChannelServiceClient(t.sys.Conn(0)).ListMessages(t.as(ctx), &publishv1.ListMessagesRequest{
			Address: to, PageSize: 300, After: middle,
		})
		if want := min(300, n/2); len(resp.GetMessages()) < want {
			short++
		}
		return err
	})
	if err != nil {
		return err
	}
	t.most(fmt.Sprintf("a page of 300 from the middle of %d messages, p99", n), ms(calls.Quantile(0.99)), 50, "ms")
	t.most("pages with less", float64(short), 0, "")
	return nil
}

// tokens is L11: how many tokens are issued and judged by a core of the auth service.
func tokens(ctx context.Context, t *trial) error {
	auth := func(w int) authv1.AuthServiceClient { return authv1.NewAuthServiceClient(t.sys.Conn(w)) }
	cpu := t.sys.Shared().CPU()
	rate, _, err := closed(ctx, 32, t.time/6, func(ctx context.Context, w, k int) error {
		_, err := auth(w).IssueToken(t.as(ctx), &authv1.IssueTokenRequest{Client: fmt.Sprintf("c%d-%d", w, k)})
		return err
	})
	if err != nil {
		return err
	}
	cores := (t.sys.Shared().CPU() - cpu).Seconds() / (t.time / 6).Seconds()
	t.least("tokens issued, by a core of the service", rate/cores, 5000, "1/s")
	resp, err := auth(0).IssueToken(t.as(ctx), &authv1.IssueTokenRequest{Client: "one"})
	if err != nil {
		return err
	}
	const batch = 100
	all := make([]string, batch)
	for i := range all {
		all[i] = resp.GetToken()
	}
	cpu = t.sys.Shared().CPU()
	rate, _, err = closed(ctx, 8, t.time/6, func(ctx context.Context, w, _ int) error {
		_, err := auth(w).BatchValidateTokens(t.as(ctx), &authv1.BatchValidateTokensRequest{Tokens: all})
		return err
	})
	if err != nil {
		return err
	}
	cores = (t.sys.Shared().CPU() - cpu).Seconds() / (t.time / 6).Seconds()
	t.least("tokens judged in batches of 100, by a core of the service", batch*rate/cores, 20_000, "1/s")
	if _, err := auth(0).RevokeToken(t.as(ctx), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: all[0]}}); err != nil {
		return err
	}
	revoked := time.Now()
	took, err := t.until(ctx, revoked, 10*time.Second, nil, func() bool {
		_, err := auth(0).ValidateToken(t.as(ctx), &authv1.ValidateTokenRequest{Token: all[0]})
		return err != nil
	})
	if err != nil {
		return err
	}
	t.most("a revoked token is refused", took.Seconds(), 1, "s")
	return nil
}
