package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// How a back end publishes as fast as it can: callers at a time, and messages in a call. The last constant is how many messages
// may be on their way to clients.
const (
	unaryCallers = 64
	batchCallers = 8
	batchSize    = 32
	pipes        = 4
	undelivered  = 1024
)

// mail counts what goes to each of n addresses, which as many clients follow each. An address is written to by one caller, so that
// its order is defined.
type mail struct {
	x         *trial
	c         *load.Crowd
	n         int
	followers int64
	window    int64 // how many publishes may be on their way to clients
	to        []string
	sent      []uint64
	ack       bool
}

// fill makes the next message to address i.
func (m *mail) fill(i int, due int64, buf []byte) peer.Message {
	buf = load.Payload(buf[:0], 0, m.sent[i], due, size)
	m.sent[i]++
	return peer.Message{To: m.to[i], Data: buf, Ack: m.ack}
}

func (m *mail) total() int64 {
	var sum uint64
	for _, n := range m.sent {
		sum += n
	}
	return int64(sum) //nolint:gosec // counts up
}

// room waits while too much is on its way; sent is what the caller, one of so many, has published.
func (m *mail) room(ctx context.Context, sent, callers int64) error {
	for sent*callers-m.c.Total()/m.followers > m.window && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond) // another goroutine waits for the crowd itself
	}
	return ctx.Err()
}

// deliver connects n clients, lets drive write to each, and reports publishes until all have come.
func deliver(n int, ack bool, drive func(ctx context.Context, x *trial, m *mail) error) func(context.Context, *trial) error {
	return func(ctx context.Context, x *trial) error {
		if err := x.sys.Tokens(ctx, n); err != nil {
			return err
		}
		var acks *acker
		var change func(*load.Options)
		if ack {
			acks = &acker{}
			change = func(o *load.Options) { o.OnFrame = acks.take }
		}
		c, err := x.gather(ctx, n, peer.Join{Client: true}, change)
		if err != nil {
			return err
		}
		defer c.Stop()
		m := &mail{x: x, c: c, n: n, followers: 1, window: undelivered, sent: make([]uint64, n), ack: ack}
		for i := range n {
			m.to = append(m.to, x.sys.Address(peer.Client, i))
		}
		u := x.begin()
		if err := drive(ctx, x, m); err != nil {
			return err
		}
		if err := drained(ctx, c, m.total()); err != nil {
			return err
		}
		if ack {
			if err := c.Wait(ctx, 5*time.Second, func() bool { return acks.answered.Load() >= m.total() }); err != nil {
				return fmt.Errorf("%d of %d acks are answered: %w", acks.answered.Load(), m.total(), err)
			}
		}
		count := float64(m.total())
		took := x.end(u, count, "s per million", 1e6)
		x.add("publishes", "1/s", count/took.Seconds())
		x.check(c, func(i int) map[uint32]uint64 { return map[uint32]uint64{0: m.sent[i]} })
		x.ages(c)
		return nil
	}
}

// callers runs n of them for the trial's time, each with a publisher and a share of the clients.
func callers(ctx context.Context, m *mail, n int, call func(ctx context.Context, p peer.Publisher, w int, until time.Time) error) error {
	publishers := make([]peer.Publisher, n)
	for w := range publishers {
		var err error
		if publishers[w], err = m.x.sys.Publisher(ctx, w); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	until := time.Now().Add(m.x.o.time)
	for w, p := range publishers {
		g.Go(func() error { return call(ctx, p, w, until) })
	}
	return g.Wait()
}

// unaryMax has 64 callers that wait for each answer.
func unaryMax(ctx context.Context, _ *trial, m *mail) error {
	n := min(unaryCallers, m.n)
	return callers(ctx, m, n, func(ctx context.Context, p peer.Publisher, w int, until time.Time) error {
		buf, sent := make([]byte, 0, size), int64(0)
		for i := w; time.Now().Before(until); i += n {
			if i >= m.n {
				i = w
			}
			if err := m.room(ctx, sent, int64(n)); err != nil {
				return err
			}
			if err := p.Publish(ctx, m.fill(i, load.Now(), buf)); err != nil {
				return err
			}
			sent++
		}
		return nil
	})
}

// batchMax has 8 callers with 32 messages in a call.
func batchMax(ctx context.Context, _ *trial, m *mail) error {
	return callers(ctx, m, batchCallers, func(ctx context.Context, p peer.Publisher, w int, until time.Time) error {
		list := make([]peer.Message, batchSize)
		i, sent := w, int64(0)
		for time.Now().Before(until) {
			for k := range list {
				list[k] = m.fill(i, load.Now(), list[k].Data)
				if i += batchCallers; i >= m.n {
					i = w
				}
			}
			if err := m.room(ctx, sent, batchCallers); err != nil {
				return err
			}
			if err := p.Batch(ctx, list); err != nil {
				return err
			}
			sent += batchSize
		}
		return nil
	})
}

// streamMax has 4 streams.
func streamMax(ctx context.Context, _ *trial, m *mail) error {
	return callers(ctx, m, pipes, func(ctx context.Context, p peer.Publisher, w int, until time.Time) error {
		st, err := p.Stream(ctx)
		if err != nil {
			return err
		}
		buf, sent := make([]byte, 0, size), int64(0)
		for i := w; time.Now().Before(until); i += pipes {
			if i >= m.n {
				i = w
			}
			if err := m.room(ctx, sent, pipes); err != nil {
				return err
			}
			if err := st.Send(m.fill(i, load.Now(), buf)); err != nil {
				return err
			}
			sent++
		}
		return st.Close()
	})
}

// paced sends at a fixed rate over 32 callers. The age of a message counts from when it was due, so a call that is late is seen.
func paced(rate float64) func(ctx context.Context, x *trial, m *mail) error {
	const n = 32
	return func(ctx context.Context, _ *trial, m *mail) error {
		g, ctx := errgroup.WithContext(ctx)
		var turns [n]chan int64
		to := make([]chan<- int64, n)
		for w := range turns {
			turns[w] = make(chan int64, int(rate)) // a second's worth: a late publish shows in its latency
			to[w] = turns[w]
		}
		g.Go(func() error {
			return callers(ctx, m, n, func(ctx context.Context, p peer.Publisher, w int, _ time.Time) error {
				buf := make([]byte, 0, size)
				client := w
				for due := range turns[w] {
					if err := p.Publish(ctx, m.fill(client, due, buf)); err != nil {
						return err
					}
					if client += n; client >= m.n {
						client = w
					}
				}
				return nil
			})
		})
		g.Go(func() error {
			_, err := load.Pace(ctx, rate, m.x.o.time, to...)
			return err
		})
		return g.Wait()
	}
}
