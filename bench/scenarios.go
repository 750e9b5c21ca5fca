package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

type adder = func(metric, unit string, value float64)

func scenarios(d time.Duration) []scenario {
	return []scenario{
		{"connect 5000", connect(5000)},
		{"idle 10000", idle(10_000)},
		{"fanout 1000 live", fanout(1000, "channels/live:bench", d)},
		{"fanout 10000 live", fanout(10_000, "channels/live:bench", d)},
		{"fanout 1000 durable", fanout(1000, "channels/kept:bench", d)},
		{"unicast unary", unicast(1000, d)},
		{"publish unary live", unary("channels/live:%d", d)},
		{"publish unary durable", unary("channels/kept:%d", d)},
		{"publish stream live", stream("channels/live:%d", d)},
		{"publish stream durable", stream("channels/kept:%d", d)},
	}
}

// connect measures handshake, token validation by gRPC, connect and one subscription.
func connect(n int) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		tokens, err := s.issue(ctx, n)
		if err != nil {
			return err
		}
		before, start := s.cpu(), time.Now()
		c, err := s.gather(ctx, tokens, "channels/live:bench", 128)
		if err != nil {
			return err
		}
		defer c.close()
		took := time.Since(start)
		add("connects per second", "1/s", float64(n)/took.Seconds())
		add("cpu per connect", "µs", float64((s.cpu()-before).Microseconds())/float64(n))
		return nil
	}
}

// idle measures memory per authenticated, subscribed connection, 12 s after the last one came.
func idle(n int) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		tokens, err := s.issue(ctx, n)
		if err != nil {
			return err
		}
		before := s.rss()
		c, err := s.gather(ctx, tokens, "channels/live:bench", 64)
		if err != nil {
			return err
		}
		defer c.close()
		add("RSS at once", "KiB/connection", (s.rss()-before)/float64(n))
		cpu := s.cpu()
		select {
		case <-time.After(12 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		s.heapNow()
		add("RSS after 12 s", "KiB/connection", (s.rss()-before)/float64(n))
		add("cpu while idle", "% of a core", float64(s.cpu()-cpu)/float64(12*time.Second)*100)
		return nil
	}
}

// fanout saturates one channel: 8 messages in flight, each until all subscribers have it.
func fanout(n int, channel string, d time.Duration) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		tokens, err := s.issue(ctx, n)
		if err != nil {
			return err
		}
		c, err := s.gather(ctx, tokens, channel, 64)
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.read(); err != nil {
			return err
		}
		const window = 8
		sent := int64(0)
		one := func() error {
			_, err := s.publish[sent%int64(len(s.publish))].Publish(ctx, &publishv1.PublishRequest{To: channel, Data: payload})
			sent++
			return err
		}
		before, start := s.cpu(), time.Now()
		for time.Since(start) < d {
			for sent-c.total.Load()/int64(n) >= window {
				if err := c.wait(ctx); err != nil {
					return err
				}
			}
			if err := one(); err != nil {
				return err
			}
		}
		for c.total.Load() < sent*int64(n) {
			if err := c.wait(ctx); err != nil {
				return fmt.Errorf("lost messages: %d of %d came: %w", c.total.Load(), sent*int64(n), err)
			}
		}
		took := time.Since(start)
		used := s.cpu() - before
		total := float64(c.total.Load())
		wrong := 0
		for _, sock := range c.sockets {
			if sock.frames.Load() != sent {
				wrong++
			}
		}
		add("deliveries per second", "1/s", total/took.Seconds())
		add("cpu per million deliveries", "s", used.Seconds()/total*1e6)
		add("connections with lost or repeated", "", float64(wrong)+float64(c.broken.Load()))
		return nil
	}
}

// wait returns when something may have been delivered.
func (c *crowd) wait(ctx context.Context) error {
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-c.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("nothing was delivered for 10 s")
	}
}

// inFlight is how many unary calls are under way.
const inFlight = 64

// load calls do from inFlight callers for d and returns how often, and the latencies' quantiles.
func load(ctx context.Context, d time.Duration, do func(worker, i int) error) (int64, []time.Duration, error) {
	var count atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	end := time.Now().Add(d)
	for w := range inFlight {
		g.Go(func() error {
			var mine []time.Duration
			for i := 0; time.Now().Before(end) && ctx.Err() == nil; i++ {
				start := time.Now()
				if err := do(w, i); err != nil {
					return err
				}
				mine = append(mine, time.Since(start))
			}
			count.Add(int64(len(mine)))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			return nil
		})
	}
	err := g.Wait()
	slices.Sort(all)
	return count.Load(), all, err
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
}

// unary measures publishes to channels that nobody follows.
func unary(pattern string, d time.Duration) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		before, start := s.cpu(), time.Now()
		n, times, err := load(ctx, d, func(w, i int) error {
			_, err := s.publish[w%len(s.publish)].Publish(ctx, &publishv1.PublishRequest{To: fmt.Sprintf(pattern, i%100), Data: payload})
			return err
		})
		if err != nil {
			return err
		}
		publishFigures(s, add, n, before, start)
		add("call p50", "ms", quantile(times, 0.5))
		add("call p99", "ms", quantile(times, 0.99))
		return nil
	}
}

func publishFigures(s *system, add adder, n int64, before time.Duration, start time.Time) {
	add("publishes per second", "1/s", float64(n)/time.Since(start).Seconds())
	add("cpu per million publishes", "s", (s.cpu()-before).Seconds()/float64(n)*1e6)
}

// unicast measures publishes to single clients, until they have them.
func unicast(clients int, d time.Duration) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		tokens, err := s.issue(ctx, clients)
		if err != nil {
			return err
		}
		c, err := s.gather(ctx, tokens, "", 64)
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.read(); err != nil {
			return err
		}
		before, start := s.cpu(), time.Now()
		n, times, err := load(ctx, d, func(w, i int) error {
			to := fmt.Sprintf("clients/client-%d", (w*997+i)%clients)
			_, err := s.publish[w%len(s.publish)].Publish(ctx, &publishv1.PublishRequest{To: to, Data: payload})
			return err
		})
		if err != nil {
			return err
		}
		for c.total.Load() < n {
			if err := c.wait(ctx); err != nil {
				return fmt.Errorf("lost messages: %d of %d came: %w", c.total.Load(), n, err)
			}
		}
		publishFigures(s, add, n, before, start)
		add("call p50", "ms", quantile(times, 0.5))
		add("call p99", "ms", quantile(times, 0.99))
		add("lost or repeated", "", float64(c.total.Load()-n))
		return nil
	}
}

// stream measures PublishStream: 4 streams, each with as many messages unanswered as it has credits.
func stream(pattern string, d time.Duration) func(context.Context, *system, adder) error {
	return func(ctx context.Context, s *system, add adder) error {
		var count atomic.Int64
		before, start := s.cpu(), time.Now()
		g, ctx := errgroup.WithContext(ctx)
		for w, client := range s.publish {
			g.Go(func() error {
				st, err := client.PublishStream(s.with(ctx))
				if err != nil {
					return err
				}
				credits := make(chan struct{}, 1<<16)
				g.Go(func() error {
					for {
						resp, err := st.Recv()
						if errors.Is(err, io.EOF) {
							return nil
						}
						if err != nil {
							return err
						}
						for _, r := range resp.GetResults() {
							if e := r.GetResult().GetError(); e != nil {
								return errors.New(e.GetMessage())
							}
							count.Add(1)
						}
						for range resp.GetCredits() {
							credits <- struct{}{}
						}
					}
				})
				for i := 0; time.Since(start) < d; i++ {
					select {
					case <-credits:
					case <-ctx.Done():
						return ctx.Err()
					}
					req := &publishv1.PublishRequest{To: fmt.Sprintf(pattern, (w*25+i)%100), Data: payload}
					if err := st.Send(&publishv1.PublishStreamRequest{Sequence: uint64(i), Publish: req}); err != nil { //nolint:gosec // not negative
						return err
					}
				}
				return st.CloseSend()
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		publishFigures(s, add, count.Load(), before, start)
		return nil
	}
}
