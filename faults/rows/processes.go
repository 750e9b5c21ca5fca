package rows

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/judge"
)

// processes are faults of the product's own processes.
func processes() []Row {
	return []Row{
		{ID: "F0", Fault: "none", How: "nothing is done", Promises: "P1-P6", Inject: func(ctx context.Context, r *Run) error {
			return r.Wait(ctx, 5*time.Second)
		}},
		{
			ID: "F1", Fault: "an edge crashes", How: "kill -9, back after 2 s", Promises: "P1-P4, P10, P12", Quick: true,
			Inject: func(ctx context.Context, r *Run) error {
				r.Delay(judge.EdgeCaughtUp)
				for i := range r.times(4) {
					edge := r.Sys.Part([]string{"edge1", "edge2"}[i%2])
					edge.Kill()
					if err := r.Wait(ctx, 2*time.Second); err != nil {
						return err
					}
					if err := edge.Start(ctx); err != nil {
						return err
					}
					if err := r.Wait(ctx, time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "F2", Fault: "both edges crash", How: "kill -9 within 0.1 s, back after 1 s", Promises: "P1-P4, P12",
			Inject: func(ctx context.Context, r *Run) error {
				r.Delay(judge.EdgeCaughtUp)
				for range r.times(3) {
					for _, name := range []string{"edge1", "edge2"} {
						r.Sys.Part(name).Kill()
					}
					if err := r.Wait(ctx, time.Second); err != nil {
						return err
					}
					for _, name := range []string{"edge1", "edge2"} {
						if err := r.Sys.Part(name).Start(ctx); err != nil {
							return err
						}
					}
					if err := r.Wait(ctx, 2*time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{ID: "F3", Fault: "everything is restarted in turn", How: "SIGTERM of each process", Promises: "P19, P1", Inject: drain},
		{ID: "F4", Fault: "publish crashes", How: "kill -9, down 0.2 to 1.5 s", Promises: "P1, P5, P6", Quick: true, Inject: crash("publish", 5)},
		{ID: "F5", Fault: "auth crashes", How: "kill -9, down 0.2 to 1.5 s, and 8 s", Promises: "P1, P13", Inject: authCrash},
		{ID: "F5g", Fault: "the gateway crashes", How: "kill -9, down 0.2 to 1.5 s", Promises: "P1, P5", Inject: crash("gateway", 3)},
		{ID: "F6", Fault: "each process is paused", How: "SIGSTOP for 3 s", Promises: "P1-P4", Inject: pauses(3 * time.Second)},
		{ID: "F7", Fault: "long pauses", How: "SIGSTOP of auth, publish and an edge for 12 s", Promises: "P1-P4, P13", Inject: longPauses},
	}
}

// storms are faults of several processes, and of many sessions.
func storms() []Row {
	return []Row{
		{
			ID: "F24", Fault: "all resume while Redis restarts", How: "kill -9 of Redis, subscribers resume several times a second", Promises: "P1-P4",
			Quick: true, Inject: storm, Load: stormy,
		},
		{ID: "F40", Fault: "everything crashes, in many orders", How: "kill -9 of auth, publish, an edge and Redis", Promises: "P1, P19", Inject: orders},
	}
}

// crash kills a process several times.
func crash(name string, times int) func(ctx context.Context, r *Run) error {
	return func(ctx context.Context, r *Run) error {
		for range r.times(times) {
			p := r.Sys.Part(name)
			p.Kill()
			r.Check("edges stay ready without "+name, r.Sys.Health(ctx, "edge1") == nil)
			if err := r.Wait(ctx, 200*time.Millisecond+time.Duration(r.Random.Int64N(int64(1300*time.Millisecond)))); err != nil {
				return err
			}
			if err := p.Start(ctx); err != nil {
				return err
			}
			if err := r.again(ctx, name+" is back", 5); err != nil {
				return err
			}
			if err := r.Wait(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	}
}

func authCrash(ctx context.Context, r *Run) error {
	if err := crash("auth", 2)(ctx, r); err != nil {
		return err
	}
	auth := r.Sys.Part("auth")
	auth.Kill()
	before := r.Load.OKs()
	if err := r.Wait(ctx, 8*time.Second); err != nil {
		return err
	}
	r.Check("publishing goes on without auth", r.Load.OKs() > before)
	if err := auth.Start(ctx); err != nil {
		return err
	}
	start := time.Now()
	for {
		token, err := r.Load.Token(ctx, "late", "", 0)
		if err == nil && r.Load.Connects(ctx, 0, token) == nil {
			break
		}
		if err := r.Wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	r.Took("auth is back, to the next connect", time.Since(start), judge.AuthBack)
	return nil
}

// drain restarts every process of the product, as a deployment does.
func drain(ctx context.Context, r *Run) error {
	for _, name := range []string{"edge1", "edge2", "publish", "gateway", "auth"} {
		p := r.Sys.Part(name)
		code, took, err := p.Terminate(ctx)
		if err != nil {
			return err
		}
		r.Took(name+" has ended", took, judge.Drained)
		r.Check(name+" exits with 0", code == 0)
		if err := p.Start(ctx); err != nil {
			return err
		}
		if err := r.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	r.most("REST calls without an answer", float64(r.Load.Unanswered()), 0, "")
	return nil
}

func pauses(d time.Duration) func(ctx context.Context, r *Run) error {
	return func(ctx context.Context, r *Run) error {
		for _, name := range []string{"auth", "publish", "gateway", "edge1"} {
			if err := r.Sys.Part(name).Stop(ctx, d); err != nil {
				return err
			}
			if err := r.Wait(ctx, time.Second); err != nil {
				return err
			}
		}
		return r.Sys.Redis[0].Stop(ctx, d)
	}
}

func longPauses(ctx context.Context, r *Run) error {
	for _, name := range []string{"auth", "publish", "edge1"} {
		if err := r.Sys.Part(name).Stop(ctx, 12*time.Second); err != nil {
			return err
		}
		if err := r.again(ctx, "after the pause", 3); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// storm kills Redis while everybody resumes.
func storm(ctx context.Context, r *Run) error {
	r.Recovers()
	for range r.times(5) {
		if err := restart(ctx, r, 300*time.Millisecond); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// restart kills Redis, and starts it again after a time.
func restart(ctx context.Context, r *Run, down time.Duration) error {
	redis := r.Sys.Redis[0]
	redis.Kill()
	if err := r.Wait(ctx, down); err != nil {
		return err
	}
	if err := redis.Start(ctx); err != nil {
		return err
	}
	if err := r.again(ctx, "Redis is back", 5); err != nil {
		return err
	}
	took, err := r.Load.NextDelivery(ctx)
	if err != nil {
		return err
	}
	r.most("… to the next delivery", took.Seconds(), 6, "s")
	return nil
}

func orders(ctx context.Context, r *Run) error {
	names := []string{"auth", "publish", "edge1", "redis"}
	for range r.times(6) {
		order := r.Random.Perm(len(names))
		for _, i := range order {
			r.process(names[i]).Kill()
		}
		for _, i := range order {
			if err := r.process(names[i]).Launch(); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := r.process(name).Ready(ctx); err != nil {
				return err
			}
		}
		if err := r.again(ctx, "all are back", 5); err != nil {
			return err
		}
		if err := r.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}
