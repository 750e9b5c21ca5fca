package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// idle is L1: connections that do nothing, and what they cost.
func idle(ctx context.Context, t *trial) error {
	n := t.n(10_000)
	if err := t.sys.Tokens(ctx, n); err != nil {
		return err
	}
	before := t.memory()
	c, err := t.gather(ctx, n, func(i int) []string { return []string{t.sys.Address(peer.Live, i%100)} })
	if err != nil {
		return err
	}
	defer c.Stop()
	if err := pause(ctx, t.settle/5); err != nil { // until the memory of the handshakes has gone
		return err
	}
	cpu, at := t.cpu(), time.Now()
	if err := pause(ctx, t.settle); err != nil {
		return err
	}
	t.most("memory of a connection", (t.memory()-before)/float64(n), 20, "KiB")
	t.most("CPU of both edges, ping every 5 s", 100*(t.cpu()-cpu).Seconds()/time.Since(at).Seconds(), 10, "% of a core")
	dropped := 0.0
	if c.Fault() != nil {
		dropped = 1
	}
	t.most("connections that were dropped", dropped, 0, "")
	return nil
}

// gather connects clients, each to the channels of its own.
func (t *trial) gather(ctx context.Context, n int, channels func(i int) []string) (*load.Crowd, error) {
	return load.Open(ctx, load.Options{Addr: t.sys.Addr(), N: n, Script: func(i int) load.Script {
		return t.sys.Script(i, peer.Join{Channels: channels(i)})
	}})
}

// paced publishes to a channel at a rate for a while, and returns how many.
func (t *trial) paced(ctx context.Context, to string, rate float64, size int, d time.Duration, first uint64) (uint64, error) {
	p, err := t.sys.Publisher(ctx, 0)
	if err != nil {
		return 0, err
	}
	due := make(chan int64, 64)
	var g errgroup.Group
	g.Go(func() error {
		_, err := load.Pace(ctx, rate, d, due)
		return err
	})
	sent := first
	var failed error
	for at := range due {
		if failed != nil {
			continue
		}
		failed = p.Publish(ctx, peer.Message{To: to, Data: load.Payload(nil, 0, sent, at, size)})
		sent++
	}
	if err := g.Wait(); err != nil {
		return sent, err
	}
	return sent, failed
}

// drained waits until so many messages came; what does not come is counted as lost.
func drained(ctx context.Context, c *load.Crowd, total int64) {
	_ = c.Wait(ctx, 10*time.Second, func() bool { return c.Total() >= total })
}

// tally stops a crowd, and prints what went wrong.
func (t *trial) tally(c *load.Crowd, sent uint64) {
	c.Stop()
	all := c.Tally(func(int) map[uint32]uint64 { return map[uint32]uint64{0: sent} })
	t.most("lost", float64(all.Lost), 0, "")
	t.most("out of order, or repeated", float64(all.Disorder+all.Dup), 0, "")
	t.most("connections that broke", float64(all.Broken), 0, "")
}

// fanout is L3: 1 KiB ten times a second to everybody.
func fanout(ctx context.Context, t *trial) error {
	n := t.n(10_000)
	if err := t.sys.Tokens(ctx, n); err != nil {
		return err
	}
	to := t.sys.Address(peer.Live, 0)
	c, err := t.gather(ctx, n, func(int) []string { return []string{to} })
	if err != nil {
		return err
	}
	defer c.Stop()
	sent, err := t.paced(ctx, to, 10, 1024, t.time, 0)
	if err != nil {
		return err
	}
	drained(ctx, c, int64(sent)*int64(n)) //nolint:gosec // counts up
	t.tally(c, sent)
	t.most("age of messages, p99", ms(c.Ages().Quantile(0.99)), 500, "ms")
	return nil
}

// stalled is L2: clients that stop reading large messages, beside readers of small ones.
func stalled(ctx context.Context, t *trial) error {
	n, stopped := t.n(1000), t.n(50)
	if err := t.sys.Tokens(ctx, n+stopped); err != nil {
		return err
	}
	small, large := t.sys.Address(peer.Live, 0), t.sys.Address(peer.Live, 1)
	c, err := t.gather(ctx, n, func(int) []string { return []string{small} })
	if err != nil {
		return err
	}
	defer c.Stop()
	alone := t.time / 3
	sent, err := t.paced(ctx, small, 50, 128, alone, 0)
	if err != nil {
		return err
	}
	drained(ctx, c, int64(sent)*int64(n)) //nolint:gosec // counts up
	before := t.memory()
	for i := range stopped {
		conn, err := t.stall(ctx, n+i, large)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:gocritic,revive // all at the end
	}
	var g errgroup.Group
	g.Go(func() error { // the others' messages, meanwhile
		var err error
		sent, err = t.paced(ctx, small, 50, 128, alone, sent)
		return err
	})
	g.Go(func() error {
		_, err := t.paced(ctx, large, 200, 60<<10, alone, 0)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	t.most("memory over the start, beside clients that stopped reading", (t.memory()-before)/1024, 128, "MiB")
	t.most("… of each", (t.memory()-before)/1024/float64(stopped), 1.25, "MiB")
	drained(ctx, c, int64(sent)*int64(n)) //nolint:gosec // counts up
	t.tally(c, sent)
	t.note("age of messages to readers, p99", ms(c.Ages().Quantile(0.99)), "ms")
	return nil
}

// stall opens a client that reads nothing after its connect.
func (t *trial) stall(ctx context.Context, i int, channel string) (*websocket.Conn, error) {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+t.sys.Addr()+"/v1/ws", nil)
	if err != nil {
		return nil, fmt.Errorf("open a client that stops reading: %w", err)
	}
	_ = resp.Body.Close()
	connect := map[string]any{"id": 1, "connect": map[string]any{
		"token": t.sys.Token(i), "subscriptions": []map[string]string{{"address": channel}},
	}}
	if err := conn.WriteJSON(connect); err != nil {
		return nil, err
	}
	_, _, err = conn.ReadMessage()
	return conn, err
}
