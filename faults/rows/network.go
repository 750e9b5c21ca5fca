package rows

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/proxy"
	"github.com/trunkline/trunkline/faults/workload"
	"github.com/trunkline/trunkline/internal/judge"
)

var behind = proc.Options{Proxied: []string{"publish", "edge1", "edge2"}}

// network are faults between the processes and Redis.
func network() []Row {
	return []Row{
		{
			ID: "F8", Fault: "an edge is cut off from Redis", How: "nothing passes either way for 1, 6 and 12 s; connections stay open", Promises: "P1-P4, P11",
			System: behind, Inject: cut(true, true),
		},
		{
			ID: "F9", Fault: "one way is cut", How: "what Redis answers does not pass for 1, 6 and 12 s", Promises: "P1-P6", System: behind,
			Inject: cut(false, true),
		},
		{
			ID: "F18", Fault: "answers of Redis are swallowed", How: "every 40th, and its connection ends", Promises: "P4, P5", System: behind, Quick: true,
			Inject: harmed(proxy.Rules{SwallowEvery: 40}, 20),
		},
		{
			ID: "F18c", Fault: "connections to Redis are cut inside of a message", How: "after 30,000 bytes of each", Promises: "P1-P5", System: behind, Quick: true,
			Inject: harmed(proxy.Rules{CutAfter: 30_000}, 10),
		},
		{
			ID: "F18p", Fault: "messages of Redis stop in the middle", How: "every 200th answer waits for 1 s after its first byte", Promises: "P3", System: behind,
			Inject: harmed(proxy.Rules{PauseEvery: 200}, 5),
		},
		{
			ID: "F19", Fault: "Redis is slow", How: "200 ms each way", Promises: "P3, P18", System: behind,
			Load: func(o *workload.Options) { o.Rate = 40 }, Inject: func(ctx context.Context, r *Run) error {
				r.rules(proxy.Rules{Delay: 200 * time.Millisecond}, behind.Proxied...)
				defer r.rules(proxy.Rules{}, behind.Proxied...)
				return r.Wait(ctx, r.length(10*time.Second))
			},
		},
		{
			ID: "F10r", Fault: "Redis refuses connections", How: "for 6 s, and open ones are reset", Promises: "P1, K14", System: behind,
			Inject: func(ctx context.Context, r *Run) error {
				before := r.Sys.Part("edge1").CPU()
				for _, name := range behind.Proxied {
					r.Sys.Proxy(name).Set(proxy.Rules{Refuse: true})
					r.Sys.Proxy(name).Drop()
				}
				if err := r.Wait(ctx, 6*time.Second); err != nil {
					return err
				}
				r.most("CPU of an edge meanwhile", (r.Sys.Part("edge1").CPU()-before).Seconds()/6*100, 20, "%")
				r.rules(proxy.Rules{}, behind.Proxied...)
				return r.again(ctx, "after it", 5)
			},
		},
	}
}

// rules sets the rules of proxies.
func (r *Run) rules(rules proxy.Rules, names ...string) {
	for _, name := range names {
		r.Sys.Proxy(name).Set(rules)
	}
}

// length is how long a state is held: half as long in a quick run.
func (r *Run) length(d time.Duration) time.Duration {
	if r.Quick {
		return d / 2
	}
	return d
}

// cut silences what is between an edge and Redis, and then between publish and Redis.
func cut(deaf, mute bool) func(ctx context.Context, r *Run) error {
	return func(ctx context.Context, r *Run) error {
		for _, d := range []time.Duration{time.Second, 6 * time.Second, 12 * time.Second} {
			before := r.Sys.Part("edge1").CPU()
			r.rules(proxy.Rules{Deaf: deaf, Mute: mute}, "edge1")
			if err := r.Wait(ctx, d); err != nil {
				return err
			}
			r.most("CPU of the edge meanwhile", (r.Sys.Part("edge1").CPU()-before).Seconds()/d.Seconds()*100, 20, "%")
			r.rules(proxy.Rules{}, "edge1")
			took, err := r.Load.CaughtUp(ctx)
			if err != nil {
				return err
			}
			r.Took("healed, to caught up", took, judge.CutCaughtUp)
		}
		r.rules(proxy.Rules{Deaf: deaf, Mute: mute}, "publish")
		if err := r.Wait(ctx, 5*time.Second); err != nil {
			return err
		}
		r.rules(proxy.Rules{}, "publish")
		return r.again(ctx, "publish: healed", 3)
	}
}

// harmed lets rules hold for all processes, and wants them to have done so often.
func harmed(rules proxy.Rules, least int) func(ctx context.Context, r *Run) error {
	return func(ctx context.Context, r *Run) error {
		r.rules(rules, behind.Proxied...)
		if err := r.Wait(ctx, r.length(16*time.Second)); err != nil {
			return err
		}
		r.rules(proxy.Rules{}, behind.Proxied...)
		hurt := 0
		for _, name := range behind.Proxied {
			hurt += r.Sys.Proxy(name).Hurt()
		}
		r.least("answers or connections hurt", float64(hurt), float64(least), "")
		return nil
	}
}
