package main

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bench/peer"
)

// The server compares the positions of channels with history that were quiet with their logs, this often; the first time it only
// notes that they are quiet.
const (
	checkEvery = 3 * time.Second
	checked    = 2
)

// watch has n clients that follow a quiet channel with history each, and measures what it costs to look after them.
func watch(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		c, err := x.gatherEach(ctx, n, func(i int) peer.Join { return peer.Join{Channels: []string{x.sys.Address(peer.Kept, i)}} }, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		if err := pause(ctx, checkEvery+time.Second); err != nil {
			return err
		}
		u := x.begin()
		if err := pause(ctx, checked*checkEvery); err != nil {
			return err
		}
		x.end(u, checked*float64(n), "µs a check", 1e6)
		return c.Fault()
	}
}
