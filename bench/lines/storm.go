package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
	"github.com/trunkline/trunkline/client"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// manner is how clients come back.
type manner struct {
	least, most time.Duration
	back        time.Duration // within which all have to be back
}

var (
	patient = manner{200 * time.Millisecond, 15 * time.Second, 30 * time.Second}
	hostile = manner{100 * time.Millisecond, 100 * time.Millisecond, 60 * time.Second}
)

// followed is how many channels a client follows, out of how many.
const (
	followed = 5
	rooms    = 50
)

// crowd is clients that come back by themselves.
type crowd struct {
	t       *trial
	clients []*client.Client
	running sync.WaitGroup
	end     context.CancelFunc

	open, opened          atomic.Int64
	lost, twice, caughtUp atomic.Int64
	gaps                  atomic.Int64
	target                atomic.Int64 // which message of each channel is the last one
}

// note is what the payload says.
type note struct {
	Seq int64 `json:"seq"`
}

func room(t *trial, i, k int) string { return t.sys.Address(peer.Kept, (i+k*7)%rooms) }

// come lets n clients connect to both edges.
func come(ctx context.Context, t *trial, n int, m manner) (*crowd, error) {
	running, end := context.WithCancel(ctx)
	c := &crowd{t: t, end: end}
	c.target.Store(-1)
	slots := make(chan struct{}, 64)
	var all sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		cl, err := c.client(i, m)
		if err != nil {
			end()
			return nil, err
		}
		c.clients = append(c.clients, cl)
		slots <- struct{}{}
		c.running.Go(func() { _ = cl.Run(running) })
		all.Go(func() {
			defer func() { <-slots }()
			for k := range followed {
				if _, err := cl.Subscribe(ctx, client.Subscription{Address: room(t, i, k)}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		c.stop()
		return nil, fmt.Errorf("subscribe: %w", err)
	default:
		return c, nil
	}
}

func (c *crowd) client(i int, m manner) (*client.Client, error) {
	token, next, done, open := c.t.sys.Token(i), map[string]int64{}, 0, false
	return client.New(client.Config{
		URL:        "ws://" + c.t.sys.Edges()[i%len(c.t.sys.Edges())] + "/v1/ws",
		Token:      func(context.Context) (string, error) { return token, nil },
		MinBackoff: m.least, MaxBackoff: m.most, Timeout: 20 * time.Second,
		OnConnected: func(*connected) {
			open = true
			c.open.Add(1)
			c.opened.Add(1)
		},
		OnDisconnected: func(error) { // of an attempt that failed, too
			if open {
				open = false
				c.open.Add(-1)
			}
		},
		OnGap: func(*publishv1.Gap) { c.gaps.Add(1) },
		OnMessage: func(msg *publishv1.Message) {
			var n note
			if json.Unmarshal(msg.GetData(), &n) != nil {
				return
			}
			want := next[msg.GetTo()]
			switch {
			case n.Seq < want:
				c.twice.Add(1)
				return
			case n.Seq > want:
				c.lost.Add(n.Seq - want)
			}
			next[msg.GetTo()] = n.Seq + 1
			if n.Seq == c.target.Load() {
				if done++; done == followed {
					c.caughtUp.Add(1)
				}
			}
		},
	})
}

func (c *crowd) stop() {
	c.end()
	c.running.Wait()
}

// storm is L4: both edges are killed and start again at once.
func storm(m manner) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		n := t.n(10_000)
		if err := t.sys.Tokens(ctx, n); err != nil {
			return err
		}
		c, err := come(ctx, t, n, m)
		if err != nil {
			return err
		}
		defer c.stop()
		steady := t.memory()
		p, err := t.sys.Publisher(ctx, 0)
		if err != nil {
			return err
		}
		seq := int64(0)
		var calls load.Hist
		publish := func() error {
			for k := range rooms {
				data, _ := json.Marshal(note{seq})
				at := load.Now()
				if err := p.Publish(ctx, peer.Message{To: t.sys.Address(peer.Kept, k), Data: data}); err != nil {
					return err
				}
				calls.Add(load.Now() - at)
			}
			seq++
			return nil
		}
		if err := publish(); err != nil {
			return err
		}
		for i := range t.sys.Edges() {
			t.sys.Edge(i).Kill()
		}
		killed, calls0 := time.Now(), c.opened.Load()
		calls = load.Hist{}
		for i := range t.sys.Edges() {
			if err := t.sys.Edge(i).Restart(); err != nil {
				return err
			}
		}
		bound := m.back + 30*time.Second
		back, err := t.until(ctx, killed, bound, publish, func() bool { return c.opened.Load()-calls0 >= int64(n) && c.open.Load() >= int64(n) })
		if err != nil {
			return err
		}
		c.target.Store(seq)
		if err := publish(); err != nil {
			return err
		}
		caught, err := t.until(ctx, killed, bound, nil, func() bool { return c.caughtUp.Load() >= int64(n) })
		if err != nil {
			return err
		}
		t.most(fmt.Sprintf("%d clients on %d channels each: all are back", n, followed), back.Seconds(), m.back.Seconds(), "s")
		t.most("… and have everything", caught.Seconds(), m.back.Seconds(), "s")
		t.most("… clients that have not", float64(int64(n)-c.caughtUp.Load()), 0, "")
		t.most("lost", float64(c.lost.Load()), 0, "")
		t.most("twice", float64(c.twice.Load()), 0, "")
		t.most("gaps", float64(c.gaps.Load()), 0, "")
		t.most("a publish meanwhile, p99", ms(calls.Quantile(0.99)), 1000, "ms")
		peak := 0.0
		for i := range t.sys.Edges() {
			peak += t.sys.Edge(i).PeakRSS()
		}
		t.most("memory of the edges at most, by that before", peak/steady, 1.5, "times")
		return nil
	}
}

// until waits until something is so, and does something meanwhile, ten times a second. It returns how long after a time that was.
func (t *trial) until(ctx context.Context, from time.Time, bound time.Duration, meanwhile func() error, so func() bool) (time.Duration, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() && time.Since(from) < bound {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if meanwhile != nil {
			if err := meanwhile(); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(from), nil
}

// drain is L5: an edge is asked to end, and its clients move to the other one.
func drain(ctx context.Context, t *trial) error {
	n := t.n(10_000)
	if err := t.sys.Tokens(ctx, n); err != nil {
		return err
	}
	c, err := come(ctx, t, n, patient)
	if err != nil {
		return err
	}
	defer c.stop()
	steady := t.sys.Edge(0).RSS()
	peak, samples := steady, make(chan struct{})
	over := make(chan struct{})
	var fastest int64
	pid := t.sys.Edge(0).PID()
	go func() { // how fast clients come back, and what that takes
		defer close(samples)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		before, k := c.opened.Load(), 0
		for {
			select {
			case <-tick.C:
			case <-over:
				return
			}
			peak = max(peak, peer.RSS(pid))
			if k++; k%10 == 0 {
				now := c.opened.Load()
				fastest, before = max(fastest, now-before), now
			}
		}
	}()
	took, ended := t.sys.Edge(0).Terminate()
	err = t.sys.Edge(0).Restart() // clients of this line know one edge each
	if err == nil {
		_, err = t.until(ctx, time.Now(), 30*time.Second, nil, func() bool { return c.open.Load() >= int64(n) })
	}
	close(over)
	<-samples
	if err != nil {
		return errors.Join(ended, err)
	}
	t.most("the edge has ended", took.Seconds(), 30, "s")
	code := 0.0
	if ended != nil {
		code = 1
	}
	t.most("… with a code that is not 0", code, 0, "")
	t.most("memory at most, by that before", peak/steady, 1.3, "times")
	t.note("most clients that came back in a second", float64(fastest), "clients")
	t.most("clients that are not back 30 s later", float64(int64(n)-c.open.Load()), 0, "")
	return nil
}
