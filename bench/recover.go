package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// missed is how many messages a reconnecting client has not.
const missed = 10

// comeBack lets n clients lose their connections, publishes, and measures until all are back and have everything.
func comeBack(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		p, err := x.sys.Publisher(ctx, 0)
		if err != nil {
			return err
		}
		to := x.sys.Address(peer.Kept, 0)
		join := peer.Join{Channels: []string{to}}
		first, err := x.gather(ctx, n, join, nil)
		if err != nil {
			return err
		}
		defer first.Stop()
		publish := func(seq int) error {
			return p.Publish(ctx, peer.Message{To: to, Data: load.Payload(nil, 0, uint64(seq), load.Now(), size)}) //nolint:gosec // counts up
		}
		if err := publish(0); err != nil {
			return err
		}
		if err := drained(ctx, first, int64(n)); err != nil {
			return err
		}
		at := p.Last()
		first.Stop()
		if err := pause(ctx, 2*time.Second); err != nil { // the server notices
			return err
		}
		for k := range missed {
			if err := publish(k + 1); err != nil {
				return err
			}
		}
		join.After = &at
		u := x.begin()
		c, err := x.gather(ctx, n, join, func(o *load.Options) { o.Before = first })
		if err != nil {
			return err
		}
		defer c.Stop()
		if err := drained(ctx, c, int64(n)*missed); err != nil {
			return err
		}
		took := x.end(u, float64(n), "µs each", 1e6)
		x.add("until all have everything", "s", took.Seconds())
		x.check(c, func(int) map[uint32]uint64 { return map[uint32]uint64{0: missed + 1} })
		return nil
	}
}

// mixed has n clients that follow one hot channel and a channel of their own: of ten publishes, one goes to the hot one.
func mixed(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		hot, cold := x.sys.Address(peer.Live, 0), func(i int) string { return x.sys.Address(peer.Live, i+1) }
		c, err := x.gatherEach(ctx, n, func(i int) peer.Join { return peer.Join{Channels: []string{hot, cold(i)}} }, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		const colds = 9
		var all [colds + 1]peer.Publisher
		for w := range all {
			if all[w], err = x.sys.Publisher(ctx, w); err != nil {
				return err
			}
		}
		sent := make([]uint64, n)
		var hots, published, next int64
		u, start := x.begin(), time.Now()
		for time.Since(start) < x.o.time {
			err := c.Wait(ctx, 10*time.Second, func() bool { return hots-c.Total()/int64(n+colds) < inFlight })
			if err != nil {
				return err
			}
			var g errgroup.Group
			g.Go(func() error {
				return all[colds].Publish(ctx, peer.Message{To: hot, Data: load.Payload(nil, 0, uint64(hots), load.Now(), size)}) //nolint:gosec // counts up
			})
			for w := range colds {
				i := int(next) % n
				next++
				data := load.Payload(nil, 1, sent[i], load.Now(), size)
				sent[i]++
				g.Go(func() error { return all[w].Publish(ctx, peer.Message{To: cold(i), Data: data}) })
			}
			if err := g.Wait(); err != nil {
				return err
			}
			hots++
			published += colds + 1
		}
		if err := drained(ctx, c, hots*int64(n)+next); err != nil {
			return err
		}
		took := x.end(u, float64(c.Total()), "s per million", 1e6)
		x.add("deliveries", "1/s", float64(c.Total())/took.Seconds())
		x.add("publishes", "1/s", float64(published)/took.Seconds())
		x.check(c, func(i int) map[uint32]uint64 { return map[uint32]uint64{0: uint64(hots), 1: sent[i]} }) //nolint:gosec // counts up
		x.ages(c)
		return nil
	}
}

// nobody measures publishes to a hundred channels that nobody follows.
func nobody(kind peer.Kind, stream bool) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		n := unaryCallers
		if stream {
			n = pipes
		}
		var count atomic.Int64
		var calls load.Hist
		hists := make([]load.Hist, n)
		u := x.begin()
		until := time.Now().Add(x.o.time)
		g, gctx := errgroup.WithContext(ctx)
		for w := range n {
			p, err := x.sys.Publisher(ctx, w)
			if err != nil {
				return err
			}
			g.Go(func() error {
				done, err := publishTo(gctx, x, p, kind, stream, w, until, &hists[w])
				count.Add(done)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		took := x.end(u, float64(count.Load()), "s per million", 1e6)
		x.add("publishes", "1/s", float64(count.Load())/took.Seconds())
		for i := range hists {
			calls.Merge(&hists[i])
		}
		if !stream {
			x.add("call p50", "ms", float64(calls.Quantile(0.5).Microseconds())/1000)
			x.add("call p99", "ms", float64(calls.Quantile(0.99).Microseconds())/1000)
		}
		return nil
	}
}

// publishTo is one caller of nobody.
func publishTo(ctx context.Context, x *trial, p peer.Publisher, kind peer.Kind, stream bool, w int, until time.Time, h *load.Hist) (int64, error) {
	buf := make([]byte, 0, size)
	send := func(m peer.Message) error { return p.Publish(ctx, m) }
	finish := func() error { return nil }
	if stream {
		st, err := p.Stream(ctx)
		if err != nil {
			return 0, fmt.Errorf("open a stream: %w", err)
		}
		send, finish = st.Send, st.Close
	}
	done := int64(0)
	for ; time.Now().Before(until); done++ {
		at := load.Now()
		buf = load.Payload(buf[:0], 0, uint64(done), at, size) //nolint:gosec // counts up
		if err := send(peer.Message{To: x.sys.Address(kind, (w*25+int(done))%100), Data: buf}); err != nil {
			return done, err
		}
		h.Add(load.Now() - at)
	}
	return done, finish()
}
