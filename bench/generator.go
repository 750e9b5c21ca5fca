package main

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// generator measures the load itself: a server that writes joined frames and does nothing else. What the load reads here is far
// above what it is asked to read elsewhere, so it is no limit there.
func generator(n int) func(context.Context, *trial) error {
	const joined = 64
	return func(ctx context.Context, x *trial) error {
		to := x.sys.Address(peer.Live, 0)
		c, err := x.gather(ctx, n, peer.Join{Channels: []string{to}}, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		p, err := x.sys.Publisher(ctx, 0)
		if err != nil {
			return err
		}
		list := make([]peer.Message, joined)
		var sent int64
		u, start := x.begin(), time.Now()
		for time.Since(start) < x.o.time {
			err := c.Wait(ctx, 10*time.Second, func() bool { return sent-c.Total()/int64(n) < 2*joined })
			if err != nil {
				return err
			}
			for i := range list {
				list[i] = peer.Message{To: to, Data: load.Payload(list[i].Data[:0], 0, uint64(sent), load.Now(), size)} //nolint:gosec // counts up
				sent++
			}
			if err := p.Batch(ctx, list); err != nil {
				return err
			}
		}
		if err := drained(ctx, c, sent*int64(n)); err != nil {
			return err
		}
		took := x.end(u, float64(c.Total()), "s per million", 1e6)
		x.add("deliveries", "1/s", float64(c.Total())/took.Seconds())
		x.check(c, func(int) map[uint32]uint64 { return map[uint32]uint64{0: uint64(sent)} }) //nolint:gosec // counts up
		return nil
	}
}
