package main

import (
	"context"

	"github.com/trunkline/trunkline/bench/peer"
)

// rooms has n clients in channels of so many members each: many small rooms that are quiet most of the time. As many messages are
// under way as there are channels, so that hardly any are merged.
func rooms(n, members int) func(context.Context, *trial) error {
	count := max(pipes, n/members)
	return crowds(count, members, int64(count))
}

// followed has a few clients on every edge that follow the same channels, and many messages under way. It shows what Redis pays
// for a publish and for each edge that follows.
func followed() func(context.Context, *trial) error {
	const clients = 4 // so that there is one on each of four edges
	return crowds(pipes, clients, undelivered)
}

// crowds has so many channels of so many members each, and streams that publish to one channel after the other. With several
// edges, the members of a channel are on different ones: each publish goes to as many edges as there are, or members.
func crowds(count, members int, window int64) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		n := count * members
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		room := func(client int) int { return client / members }
		m := &mail{x: x, n: count, followers: int64(members), window: window, sent: make([]uint64, count)}
		for i := range count {
			m.to = append(m.to, x.sys.Address(peer.Live, i))
		}
		c, err := x.gatherEach(ctx, n, func(i int) peer.Join { return peer.Join{Channels: []string{m.to[room(i)]}} }, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		m.c = c
		u := x.begin()
		if err := streamMax(ctx, x, m); err != nil {
			return err
		}
		if err := drained(ctx, c, m.total()*m.followers); err != nil {
			return err
		}
		deliveries := float64(m.total() * m.followers)
		took := x.end(u, deliveries, "s per million", 1e6)
		x.add("deliveries", "1/s", deliveries/took.Seconds())
		x.add("publishes", "1/s", float64(m.total())/took.Seconds())
		x.check(c, func(i int) map[uint32]uint64 { return map[uint32]uint64{0: m.sent[room(i)]} })
		x.bytes(c)
		x.ages(c)
		return nil
	}
}
