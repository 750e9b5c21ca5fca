package rows

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/proxy"
	"github.com/trunkline/trunkline/faults/workload"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// accepted is what a failover may cost a publish that did not ask for replicas. Nothing of it is silent.
var accepted = map[judge.Count]int{judge.Declared: Any, judge.Moved: Any, judge.Inverted: Any, judge.AfterAck: Any}

// acks that had not reached the replica are lost with the master, whatever publishes asked for.
var acks = map[judge.Count]int{judge.AfterAck: Any}

// failovers are the rows in which another server takes over, with Sentinel and in a Cluster.
func failovers() []Row {
	sentinel, cluster := proc.Options{Redis: proc.Sentinel}, proc.Options{Redis: proc.Cluster}
	return []Row{
		{
			ID: "F14", Fault: "failover, and the new master cannot be reached at first", How: "kill -9 of the master, new connections to the replicas are refused for 4 s",
			Promises: "P9, P23", System: proc.Options{Redis: proc.Sentinel, Announced: true}, Allow: accepted, Inject: unreachable,
		},
		{
			ID: "F13o", Fault: "failover by order", How: "SENTINEL FAILOVER, 3 times", Promises: "P1, P4, P5", System: sentinel, Allow: accepted,
			Inject: func(ctx context.Context, r *Run) error { return ordered(ctx, r, 3) },
		},
		{
			ID: "F16", Fault: "a master that stood still comes back", How: "SIGSTOP of the master for 6 s, REPLICATED", Promises: "P1, P3, P6, P7",
			System: sentinel, Load: replicated, Allow: acks, Inject: comesBack,
		},
		{
			ID: "F17", Fault: "a master dies that was alone", How: "the replicas are cut off for 1.5 s, kill -9 of the master, REPLICATED", Promises: "P1, P4, P5, P7",
			System: sentinel, Load: replicated, Allow: acks, Inject: alone,
		},
		{
			ID: "F17p", Fault: "the same, without REPLICATED", How: "as F17", Promises: "P2, P7", System: sentinel, Allow: accepted, Inject: alone,
		},
		{
			ID: "F26", Fault: "a master of a Cluster dies", How: "kill -9 of one of three", Promises: "P1-P7, P9", System: cluster, Allow: accepted, Inject: node,
		},
		{
			ID: "F26o", Fault: "failover of a Cluster by order", How: "CLUSTER FAILOVER of a replica, 2 times", Promises: "P1, P7", System: cluster, Allow: accepted,
			Inject: func(ctx context.Context, r *Run) error {
				for range r.times(2) {
					if err := promoted(ctx, r); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
}

func replicated(o *workload.Options) {
	o.Durability, o.Replicas = publishv1.Durability_DURABILITY_REPLICATED, 1
}

// ordered lets the sentinels change the master.
func ordered(ctx context.Context, r *Run, n int) error {
	for range r.times(n) {
		old, err := r.Sys.Master(ctx)
		if err != nil {
			return err
		}
		if err := r.Sys.Failover(ctx); err != nil {
			return err
		}
		next, err := r.newMaster(ctx, old)
		if err != nil {
			return err
		}
		took, err := r.Load.NextOK(ctx)
		if err != nil {
			return err
		}
		r.Took("another master, to the next OK", took, judge.FailoverPublish)
		if err := r.Sys.InStep(ctx, next, 2); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// unreachable kills the master, and lets nobody dial the replicas for a while.
func unreachable(ctx context.Context, r *Run) error {
	master, err := r.Sys.Master(ctx)
	if err != nil {
		return err
	}
	replicas := []string{"replica1", "replica2"}
	r.rules(proxy.Rules{Refuse: true}, replicas...)
	master.Kill()
	err = r.Wait(ctx, 4*time.Second)
	r.rules(quiet, replicas...)
	if err != nil {
		return err
	}
	took, err := r.Load.NextOK(ctx)
	if err != nil {
		return err
	}
	more, err := r.Load.NextDelivery(ctx)
	r.Took("it can be reached, to the next OK", took, judge.FailoverPublish)
	r.Took("… to the next delivery", took+more, judge.FailoverDelivery)
	return err
}

// comesBack stops the master until a replica has taken over, and lets it go on then.
func comesBack(ctx context.Context, r *Run) error {
	master, err := r.Sys.Master(ctx)
	if err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() { stopped <- master.Stop(ctx, 6*time.Second) }()
	took, err := r.Load.NextOK(ctx)
	if serr := <-stopped; err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	r.Took("master stopped, to the next OK", took, judge.FailoverPublish)
	return r.Wait(ctx, 4*time.Second)
}

// alone cuts the replicas off, and kills the master.
func alone(ctx context.Context, r *Run) error {
	master, err := r.Sys.Master(ctx)
	if err != nil {
		return err
	}
	for _, s := range r.Sys.Redis {
		if s == master {
			continue
		}
		// They look for their master where nobody listens. Stopping them would not do: the kernel would still take what the master sends.
		if _, err := s.CLI(ctx, "replicaof", "127.0.0.1", "1"); err != nil {
			return err
		}
	}
	if err := r.Wait(ctx, 1500*time.Millisecond); err != nil {
		return err
	}
	master.Kill()
	took, err := r.Load.NextOK(ctx)
	if err != nil {
		return err
	}
	r.Took("master killed, to the next OK", took, judge.FailoverPublish)
	if _, err := r.newMaster(ctx, master); err != nil {
		return err
	}
	if err := master.Start(ctx); err != nil {
		return err
	}
	return r.Wait(ctx, 4*time.Second)
}

// node kills a master of a Cluster.
func node(ctx context.Context, r *Run) error {
	master, err := r.Sys.Master(ctx)
	if err != nil {
		return err
	}
	master.Kill()
	took, err := r.Load.CaughtUp(ctx) // to every channel
	if err != nil {
		return err
	}
	r.Took("master killed, to an OK of every slot", took, judge.ClusterPublish)
	if err := master.Start(ctx); err != nil {
		return err
	}
	return r.Wait(ctx, 3*time.Second)
}

// promoted makes a replica of a Cluster a master.
func promoted(ctx context.Context, r *Run) error {
	for _, s := range r.Sys.Redis {
		if s.Info(ctx, "role") != "slave" {
			continue
		}
		if _, err := s.CLI(ctx, "cluster", "failover"); err != nil {
			return err
		}
		for s.Info(ctx, "role") != "master" {
			if err := r.Wait(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		break
	}
	took, err := r.Load.CaughtUp(ctx)
	if err != nil {
		return err
	}
	r.Took("a replica took over, to an OK of every slot", took, judge.ClusterPublish)
	return r.Wait(ctx, 2*time.Second)
}
