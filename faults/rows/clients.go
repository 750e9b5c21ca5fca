package rows

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/proxy"
)

var (
	silent = proxy.Rules{Deaf: true, Mute: true}
	quiet  = proxy.Rules{}
)

// clients are faults of clients, and of what a machine has.
func clients() []Row {
	return []Row{
		{
			ID: "F23", Fault: "clients that break off", How: "2,000 connections that are reset at a random byte", Promises: "P21, P22", Inject: abrupt,
		},
		{ID: "F30", Fault: "clients that subscribe and leave", How: "40 connections, one channel, 40 times a second, for 8 s", Promises: "P21, P22", Inject: churn},
		{
			ID: "F29", Fault: "few descriptors", How: "an edge may open 600 files, and 60 connections", Promises: "P1, P22",
			System: proc.Options{Limits: map[string]string{"edge1": "ulimit -n 600"}, Config: "edge: {connections_per_ip: 0, connections: 60, connections_per_token: 0, drain_window: 2s, connections_per_user: 0}\n"},
			Inject: func(ctx context.Context, r *Run) error { return r.Wait(ctx, 5*time.Second) },
		},
		{ID: "F36", Fault: "two faults at a time", How: "random ones of crashes, pauses, cuts and killed connections, for 40 s", Promises: "P1-P7", System: behind, Inject: combined},
	}
}

const handshake = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xfe\x00\xc8\x01\x02\x03\x04"

// abrupt resets connections at any byte of the handshake, and of a frame behind it.
func abrupt(ctx context.Context, r *Run) error {
	before := r.Sys.Goroutines(ctx, "edge1")
	text := handshake + strings.Repeat("x", 200)
	for range r.times(2000) {
		c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", r.Sys.Edges[0])
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte(text[:r.Random.IntN(len(text))]))
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
	if err := r.Wait(ctx, 3*time.Second); err != nil {
		return err
	}
	r.most("goroutines of the edge more than before", r.Sys.Goroutines(ctx, "edge1")-before, 40, "")
	return nil
}

// churn subscribes and leaves, and looks for what stays behind.
func churn(ctx context.Context, r *Run) error {
	const address = "channels/kept:churn"
	before := r.Sys.Goroutines(ctx, "edge1")
	some, cancel := context.WithTimeout(ctx, r.length(8*time.Second))
	defer cancel()
	turns, err := r.Load.Churn(some, 40, address)
	if err != nil {
		return err
	}
	r.least("subscribed and left", float64(turns), 1000, "times")
	if err := r.Wait(ctx, 3*time.Second); err != nil {
		return err
	}
	r.most("goroutines of the edge more than before", r.Sys.Goroutines(ctx, "edge1")-before, 40, "")
	out, err := r.Sys.Redis[0].CLI(ctx, "pubsub", "channels", "*"+address+"*")
	r.Check("nobody subscribes to it in Redis", out == "")
	return err
}

// combined does two faults at a time.
func combined(ctx context.Context, r *Run) error {
	faults := []func(ctx context.Context, d time.Duration) error{
		func(ctx context.Context, d time.Duration) error { return r.bounce(ctx, "edge1", d) },
		func(ctx context.Context, d time.Duration) error { return r.bounce(ctx, "edge2", d) },
		func(ctx context.Context, d time.Duration) error { return r.bounce(ctx, "publish", d) },
		func(ctx context.Context, d time.Duration) error { return r.bounce(ctx, "auth", d) },
		func(ctx context.Context, d time.Duration) error { return r.bounce(ctx, "redis", d) },
		func(ctx context.Context, d time.Duration) error { return r.Sys.Part("gateway").Stop(ctx, d) },
		func(ctx context.Context, d time.Duration) error { return r.held(ctx, silent, "edge1", d) },
		func(ctx context.Context, d time.Duration) error {
			return r.held(ctx, proxy.Rules{Mute: true}, "publish", d)
		},
		func(ctx context.Context, d time.Duration) error {
			return r.held(ctx, proxy.Rules{SwallowEvery: 20}, "publish", d)
		},
		func(ctx context.Context, d time.Duration) error {
			return r.held(ctx, proxy.Rules{CutAfter: 20_000}, "edge2", d)
		},
	}
	end := time.Now().Add(r.length(40 * time.Second))
	for time.Now().Before(end) {
		picked := r.Random.Perm(len(faults))[:2]
		errs := make(chan error, 2)
		for _, i := range picked {
			d := 300*time.Millisecond + time.Duration(r.Random.Int64N(int64(3*time.Second)))
			go func() { errs <- faults[i](ctx, d) }()
		}
		for range picked {
			if err := <-errs; err != nil {
				return err
			}
		}
		if err := r.Wait(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	for _, name := range append([]string{"redis"}, proc.Parts...) {
		if err := r.process(name).Ready(ctx); err != nil {
			return err
		}
	}
	return r.again(ctx, "all is over", 5)
}

// bounce kills a process, and starts it again after a time.
func (r *Run) bounce(ctx context.Context, name string, d time.Duration) error {
	p := r.process(name)
	p.Kill()
	if err := r.Wait(ctx, d); err != nil {
		return err
	}
	return p.Launch()
}

// held lets rules hold for a time.
func (r *Run) held(ctx context.Context, rules proxy.Rules, name string, d time.Duration) error {
	r.rules(rules, name)
	defer r.rules(quiet, name)
	return r.Wait(ctx, d)
}
