package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// scenario measures a fresh system.
type scenario struct {
	name  string
	needs peer.Feature
	run   func(ctx context.Context, x *trial) error
}

func scenarios(o options) []scenario {
	n := func(clients int) int { return max(10, int(float64(clients)*o.scale)) }
	var list []scenario
	add := func(needs peer.Feature, run func(ctx context.Context, x *trial) error, format string, args ...any) {
		list = append(list, scenario{fmt.Sprintf(format, args...), needs, run})
	}
	add(peer.Generator, generator(n(1000)), "generator %d", n(1000))
	add(peer.Connect, connect(n(5000)), "connect %d", n(5000))
	add(peer.Connect, idle(n(10_000)), "idle %d", n(10_000))
	add(peer.Quiet, watch(n(10_000), peer.Kept, checkEvery, 2), "quiet %d kept", n(10_000))
	add(peer.Listing, watch(n(10_000), peer.Listed, keepEvery, 2), "quiet %d listed", n(10_000))
	add(peer.Fanout, fanout(n(1000)), "fanout %d max", n(1000))
	add(peer.Fanout, steady(n(1000), 60), "fanout %d 60/s", n(1000))
	add(peer.Fanout, fanout(n(10_000)), "fanout %d max", n(10_000))
	add(peer.Unary, deliver(n(1000), false, unaryMax), "unicast unary max")
	add(peer.Batch, deliver(n(1000), false, batchMax), "unicast batch max")
	add(peer.Stream, deliver(n(1000), false, streamMax), "unicast stream max")
	add(peer.Unary, deliver(n(1000), false, paced(2000)), "unicast 2000/s")
	add(peer.Acks, deliver(n(1000), true, unaryMax), "acked unary max")
	add(peer.Acks, deliver(n(1000), true, paced(2000)), "acked 2000/s")
	add(peer.Rooms, followed(), "followed stream max")
	add(peer.Rooms, rooms(n(5000), 4), "rooms of 4 stream max")
	add(peer.Rooms, rooms(n(5000), 20), "rooms of 20 stream max")
	add(peer.Recover, comeBack(n(5000)), "recover %d", n(5000))
	add(peer.Mixed, mixed(n(1000)), "mixed %d", n(1000))
	add(peer.Nobody, nobody(peer.Live, false), "publish unary live")
	add(peer.Nobody, nobody(peer.Kept, false), "publish unary durable")
	add(peer.Nobody, nobody(peer.Live, true), "publish stream live")
	add(peer.Nobody, nobody(peer.Kept, true), "publish stream durable")
	return list
}

// connect measures joining: handshake, token, one subscription.
func connect(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		u := x.begin()
		c, err := x.gather(ctx, n, peer.Join{Channels: []string{x.sys.Address(peer.Live, 0)}}, nil)
		if err != nil {
			return err
		}
		took := x.end(u, float64(n), "µs each", 1e6)
		x.add("connects", "1/s", float64(n)/took.Seconds())
		c.Stop()
		h := c.Handshakes()
		x.add("handshake p99", "ms", float64(h.Quantile(0.99).Microseconds())/1000)
		return nil
	}
}

// idle measures the memory of joined connections that have been left alone for a while.
func idle(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		parts, before := x.memory()
		if err := x.sys.Tokens(ctx, n); err != nil { // after that: what a server keeps of tokens that it has made counts as theirs
			return err
		}
		held := func(part string) float64 {
			_, now := x.memory()
			return (now[part] - before[part]) / float64(n)
		}
		x.add("RSS without clients", "MiB a process", before[parts[0]]/1024/x.servers())
		c, err := x.gather(ctx, n, peer.Join{Channels: []string{x.sys.Address(peer.Live, 0)}}, nil)
		if err != nil {
			return err
		}
		defer c.Stop()
		x.add("RSS at once", "KiB each", held(parts[0]))
		u := x.begin()
		if err := pause(ctx, x.o.settle); err != nil {
			return err
		}
		x.add("RSS", "KiB each", held(parts[0]))
		for _, part := range parts[1:] {
			x.add("RSS of "+part, "KiB each", held(part))
		}
		took := x.end(u, x.o.settle.Seconds(), "% of a core", 100)
		c.Stop()
		_, pings := c.Traffic()
		x.add("pings", "1/s", float64(pings)/took.Seconds())
		return c.Fault()
	}
}

// inFlight is how many messages of a saturated channel are under way.
const inFlight = 8

// fanout saturates one channel: another message goes out when all subscribers have the one before the last seven.
func fanout(n int) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		return x.channel(ctx, n, func(c *load.Crowd, send func(due int64) error, sent *int64, measure func()) error {
			start := time.Now()
			warm := min(time.Second, x.o.time/4)
			for measured := false; ; {
				past := time.Since(start)
				if !measured && past >= warm {
					measure()
					measured = true
				}
				if past >= warm+x.o.time {
					return nil
				}
				err := c.Wait(ctx, 10*time.Second, func() bool { return *sent-c.Total()/int64(n) < inFlight })
				if err != nil {
					return err
				}
				if err := send(load.Now()); err != nil {
					return err
				}
			}
		})
	}
}

// steady publishes to one channel at a fixed rate. Ages are taken from when a message was due.
func steady(n int, rate float64) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		return x.channel(ctx, n, func(_ *load.Crowd, send func(due int64) error, _ *int64, measure func()) error {
			warm := int(rate * min(time.Second, x.o.time/4).Seconds())
			turns := make(chan int64, int(rate))
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error {
				_, err := load.Pace(ctx, rate, time.Duration(float64(warm)/rate*float64(time.Second))+x.o.time, turns)
				return err
			})
			g.Go(func() error {
				i := 0
				for due := range turns {
					if i == warm {
						measure()
					}
					i++
					if err := send(due); err != nil {
						return err
					}
				}
				return nil
			})
			return g.Wait()
		})
	}
}

// channel joins n clients to one channel, lets drive publish, and reports deliveries from when drive calls measure.
func (x *trial) channel(ctx context.Context, n int,
	drive func(c *load.Crowd, send func(due int64) error, sent *int64, measure func()) error,
) error {
	if err := x.sys.Tokens(ctx, n); err != nil {
		return err
	}
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
	var sent, from int64
	buf := make([]byte, 0, size)
	send := func(due int64) error {
		buf = load.Payload(buf[:0], 0, uint64(sent), due, size) //nolint:gosec // counts up
		sent++
		return p.Publish(ctx, peer.Message{To: to, Data: buf})
	}
	var u usage
	err = drive(c, send, &sent, func() {
		from = c.Total()
		c.MeasureFrom(load.Now())
		u = x.begin()
	})
	if err != nil {
		return err
	}
	if err := drained(ctx, c, sent*int64(n)); err != nil {
		return err
	}
	count := float64(c.Total() - from)
	took := x.end(u, count, "s per million", 1e6)
	x.add("deliveries", "1/s", count/took.Seconds())
	parts, now := x.memory()
	x.add("RSS while delivering", "MiB a process", now[parts[0]]/1024/x.servers())
	x.check(c, func(int) map[uint32]uint64 { return map[uint32]uint64{0: uint64(sent)} }) //nolint:gosec // counts up
	x.bytes(c)
	x.ages(c)
	return nil
}
