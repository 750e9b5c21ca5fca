package rows

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/workload"
	"github.com/trunkline/trunkline/internal/judge"
)

// pressures are faults of what a process can take: readers that do not read, floods, little time.
func pressures() []Row {
	return []Row{
		{
			ID: "F22", Fault: "subscribers that do not read", How: "8 of them read nothing for 5 s, and 32 KiB come 100 times a second", Promises: "P1, P17",
			Load: func(o *workload.Options) {
				o.Slow, o.Rate, o.Payload, o.Big, o.Channels, o.Stay, o.Leave, o.Apps = 8, 100, 32<<10, true, 4, 4, 2, 2
			},
			Inject: func(ctx context.Context, r *Run) error { return r.grows(ctx, 15*time.Second, 128) },
		},
		{
			ID: "F39", Fault: "a flood while an edge stands still", How: "32 KiB come 80 times a second, SIGSTOP of the edge for 12 s", Promises: "P17, P18",
			Load: func(o *workload.Options) {
				o.Rate, o.Payload, o.Big, o.Channels, o.Stay, o.Leave, o.Apps = 80, 32<<10, true, 4, 4, 2, 2
			},
			Inject: func(ctx context.Context, r *Run) error {
				if err := r.Sys.Part("edge1").Stop(ctx, 12*time.Second); err != nil {
					return err
				}
				return r.grows(ctx, 4*time.Second, 200)
			},
		},
		{
			ID: "F28", Fault: "an edge has little time", How: "it runs for 10 ms of each 100 ms, for 12 s", Promises: "P4, P12",
			Inject: func(ctx context.Context, r *Run) error {
				edge := r.Sys.Part("edge1")
				for end := time.Now().Add(r.length(12 * time.Second)); time.Now().Before(end); {
					if err := edge.Stop(ctx, 90*time.Millisecond); err != nil {
						return err
					}
					if err := r.Wait(ctx, 10*time.Millisecond); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "F31", Fault: "clients fall silent", How: "nothing passes between the front and clients for 8 s, pings each 2 s", Promises: "P1, P12",
			System: proc.Options{Config: "edge: {connections_per_ip: 0, connections_per_token: 0, connections_per_user: 0, drain_window: 2s, ping_interval: 2s}\n"},
			Inject: func(ctx context.Context, r *Run) error {
				r.Sys.Front.Set(silent)
				err := r.Wait(ctx, 8*time.Second)
				r.Sys.Front.Set(quiet)
				return err
			},
		},
		{
			ID: "F33", Fault: "inboxes over crashes", How: "100 messages a second ask for acks; kill -9 of an edge, publish and Redis at once, 3 times", Promises: "P8, P1",
			Load: func(o *workload.Options) { o.InboxRate, o.Rate = 100, 40 }, Inject: func(ctx context.Context, r *Run) error {
				for range r.times(3) {
					if err := together(ctx, r, "edge1", "publish", "redis"); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
}

// older is what a session sees at a server that has left: a gap to an older place, and from there everything again.
var older = map[judge.Count]int{judge.Missing: Any, judge.AfterAck: Any, judge.Doubled: Any}

// seen are the rows of what was wrong before.
func seen() []Row {
	return []Row{
		{
			ID: "V1", Fault: "nothing is read without end", How: "FLUSHALL while all resume; commands of Redis a second, before and after", Promises: "P21",
			Allow: destroyed, Load: func(o *workload.Options) {
				o.Rate, o.InboxRate, o.Users, o.Members, o.Apps, o.Stay, o.Leave = 16, 0, 0, 0, 2, 20, 10
			},
			Inject: atRest,
		},
		{
			ID: "V5", Fault: "the masters of a Cluster beside the one that dies", How: "kill -9 of one of three; the longest call to each slot", Promises: "P9",
			System: proc.Options{Redis: proc.Cluster}, Allow: accepted, Inject: besides,
		},
		{
			ID: "F25", Fault: "slots move", How: "reshard of 300 slots of a Cluster", Promises: "P1-P5", System: proc.Options{Redis: proc.Cluster}, Inject: reshard,
		},
		{
			ID: "F15", Fault: "an edge is connected to a server that left", How: "its connections lead to a replica, which becomes a master of its own", Promises: "P1, P23",
			System: proc.Options{Proxied: []string{"edge1"}}, Allow: older, Inject: detached,
		},
	}
}

// grows waits, and holds the memory of edges to a bound in MiB.
func (r *Run) grows(ctx context.Context, d time.Duration, most float64) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, name := range []string{"edge1", "edge2"} {
			r.most("memory of an edge", float64(r.Sys.Part(name).RSS()>>20), most, "MiB")
		}
		if err := r.Wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// together kills processes at once, and starts them again.
func together(ctx context.Context, r *Run, names ...string) error {
	for _, name := range names {
		r.process(name).Kill()
	}
	if err := r.Wait(ctx, time.Second); err != nil {
		return err
	}
	for _, name := range names {
		if err := r.process(name).Launch(); err != nil {
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
	return r.Wait(ctx, 2*time.Second)
}

// atRest compares how much Redis has to do before and after it was emptied.
func atRest(ctx context.Context, r *Run) error {
	rate := func() (float64, error) {
		before := number(r.Sys.Redis[0].Info(ctx, "total_commands_processed"))
		err := r.Wait(ctx, 3*time.Second)
		return (number(r.Sys.Redis[0].Info(ctx, "total_commands_processed")) - before) / 3, err
	}
	first, err := rate()
	if err != nil {
		return err
	}
	for range r.times(6) {
		if _, err := r.Sys.Redis[0].CLI(ctx, "flushall"); err != nil {
			return err
		}
		if err := r.Wait(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	if err := r.Wait(ctx, 4*time.Second); err != nil {
		return err
	}
	last, err := rate()
	r.Seen("commands a second, before", first, "")
	r.most("commands a second, after", last, 2*first, "")
	return err
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// besides publishes to each channel by itself, and tells those of the master that dies from the others.
func besides(ctx context.Context, r *Run) error {
	master, err := r.Sys.Master(ctx)
	if err != nil {
		return err
	}
	owned, err := r.Sys.Owned(ctx, master)
	if err != nil {
		return err
	}
	const channels = 20
	hit := map[int]bool{}
	for i := range channels {
		out, err := master.CLI(ctx, "cluster", "keyslot", "{"+workload.Channel(i)+"}")
		if err != nil {
			return err
		}
		slot, _ := strconv.Atoi(strings.TrimSpace(out))
		hit[i] = owned(slot)
	}
	probe := r.Load.Probe(ctx, channels)
	if err := r.Wait(ctx, time.Second); err != nil {
		return err
	}
	master.Kill()
	if err := r.Wait(ctx, 10*time.Second); err != nil {
		return err
	}
	for i, longest := range probe() {
		if hit[i] {
			r.Took("the longest call to its slots", longest, judge.ClusterPublish)
		} else {
			r.most("the longest call to the others", longest.Seconds(), 1, "s")
		}
	}
	if err := master.Start(ctx); err != nil {
		return err
	}
	return r.Wait(ctx, 3*time.Second)
}

func reshard(ctx context.Context, r *Run) error {
	var masters []*proc.Redis
	for _, s := range r.Sys.Redis {
		if s.Info(ctx, "role") == "master" {
			masters = append(masters, s)
		}
	}
	for i := range r.times(3) {
		from, to := masters[i%len(masters)], masters[(i+1)%len(masters)]
		if err := r.Sys.Reshard(ctx, from, to, 100); err != nil {
			return err
		}
	}
	took, err := r.Load.CaughtUp(ctx)
	r.most("slots have moved, to an OK of every channel", took.Seconds(), 2, "s")
	return err
}

// detached leads an edge to a server that nobody else uses.
func detached(ctx context.Context, r *Run) error {
	replica, err := r.Sys.Replica(ctx)
	if err != nil {
		return err
	}
	p := r.Sys.Proxy("edge1")
	p.Point(replica.Addr)
	p.Drop()
	if err := r.Wait(ctx, time.Second); err != nil {
		return err
	}
	if _, err := replica.CLI(ctx, "replicaof", "no", "one"); err != nil {
		return err
	}
	if err := r.Wait(ctx, 5*time.Second); err != nil {
		return err
	}
	p.Point(r.Sys.Redis[0].Addr)
	replica.Kill()
	p.Drop()
	took, err := r.Load.CaughtUp(ctx)
	if err != nil {
		return fmt.Errorf("after the edge was led back: %w", err)
	}
	r.most("led back, to caught up", took.Seconds(), 10, "s")
	return nil
}
