package main

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bench/peer"
)

// Every checkEvery, an edge compares the positions of channels with history that were quiet with their logs. Every keepEvery, it
// keeps the lists of members of channels that have one.
const (
	checkEvery = 3 * time.Second
	keepEvery  = 5 * time.Second
)

// watch has n clients that follow a quiet channel each, and measures what it costs to look after them. An edge does that every so
// often, this many times while it is measured.
func watch(n int, kind peer.Kind, every time.Duration, times int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		c, err := x.gatherEach(ctx, n, func(i int) peer.Join { return peer.Join{Channels: []string{x.sys.Address(kind, i)}} }, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		if err := pause(ctx, every+time.Second); err != nil {
			return err
		}
		u := x.begin()
		if err := pause(ctx, time.Duration(times)*every); err != nil {
			return err
		}
		x.end(u, float64(times*n), "µs each", 1e6)
		return c.Fault()
	}
}
