package rows

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/internal/judge"
)

// process returns one of the product, or Redis.
func (r *Run) process(name string) *proc.Process {
	if name == "redis" {
		return &r.Sys.Redis[0].Process
	}
	return r.Sys.Part(name)
}

// redis are faults of Redis.
func redis() []Row {
	return []Row{
		{ID: "F10", Fault: "Redis crashes", How: "kill -9, AOF always, down 1, 3 and 8 s", Promises: "P1-P7, P23", Quick: true, Inject: redisCrash},
		{
			ID: "F13", Fault: "failover", How: "Sentinel, down-after 1 s, kill -9 of the master", Promises: "P1-P7, P9", Quick: true,
			System: proc.Options{Redis: proc.Sentinel}, Inject: failover,
		},
	}
}

func redisCrash(ctx context.Context, r *Run) error {
	r.Recovers()
	downs := []time.Duration{time.Second, 3 * time.Second, 8 * time.Second}
	for _, down := range downs[:r.times(3)] {
		redis := r.Sys.Redis[0]
		redis.Kill()
		start := time.Now()
		before := r.Sys.Part("edge1").CPU()
		if err := r.turnsRed(ctx, "edge1", start); err != nil {
			return err
		}
		if err := r.Wait(ctx, max(down-time.Since(start), 0)); err != nil {
			return err
		}
		r.most("CPU of an edge meanwhile", (r.Sys.Part("edge1").CPU()-before).Seconds()/time.Since(start).Seconds()*100, 20, "%")
		if err := redis.Start(ctx); err != nil {
			return err
		}
		start = time.Now()
		if err := r.again(ctx, "Redis is back", 5); err != nil {
			return err
		}
		for r.Sys.Health(ctx, "edge1") != nil {
			if err := r.Wait(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		r.Took("readiness turns green", time.Since(start), judge.ReadyGreen)
		if err := r.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// failover kills the master, twice.
func failover(ctx context.Context, r *Run) error {
	for range r.times(2) {
		master, err := r.Sys.Master(ctx)
		if err != nil {
			return err
		}
		master.Kill()
		took, err := r.Load.NextOK(ctx)
		if err != nil {
			return err
		}
		r.Took("master killed, to the next OK", took, judge.FailoverPublish)
		more, err := r.Load.NextDelivery(ctx)
		if err != nil {
			return err
		}
		r.Took("… to the next delivery", took+more, judge.FailoverDelivery)
		next, err := r.newMaster(ctx, master)
		if err != nil {
			return err
		}
		if err := master.Start(ctx); err != nil {
			return err
		}
		if err := r.Sys.InStep(ctx, next, 2); err != nil {
			return err
		}
		if err := r.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// newMaster waits until another one is the master.
func (r *Run) newMaster(ctx context.Context, old *proc.Redis) (*proc.Redis, error) {
	for {
		next, err := r.Sys.Master(ctx)
		if err == nil && next != old {
			return next, nil
		}
		if err := r.Wait(ctx, 100*time.Millisecond); err != nil {
			return nil, fmt.Errorf("no other master: %w", err)
		}
	}
}
