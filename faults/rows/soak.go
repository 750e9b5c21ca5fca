package rows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/proxy"
	"github.com/trunkline/trunkline/faults/workload"
)

const (
	// soakEvery is how often a soak does a fault, and soakCalm how long it waits after one until it measures again.
	soakEvery, soakCalm = time.Minute, 25 * time.Second
	// soakSample is how often it measures.
	soakSample = 5 * time.Second
	// soakSlope is by how much a measure may grow, in percent of its median an hour.
	soakSlope = 1
)

// Soak is a row for a long time: a random fault each minute under a calm workload. In its last half nothing may grow: memory,
// goroutines and descriptors of the processes that live through it, and the keys of Redis but receipts.
func Soak(length time.Duration) Row {
	return Row{
		ID: "soak", Fault: "a random fault each minute", How: fmt.Sprintf("for %s", length), Promises: "P1-P7, P21, P22", System: behind, Long: length,
		Load: func(o *workload.Options) {
			o.Rate, o.InboxRate, o.Payload, o.Stay, o.Leave, o.Apps = 40, 8, 1<<10, 8, 6, 4
		},
		Inject: func(ctx context.Context, r *Run) error { return r.soak(ctx, length) },
	}
}

// soak does faults and measures.
func (r *Run) soak(ctx context.Context, length time.Duration) error {
	faults := []func(ctx context.Context) error{
		func(ctx context.Context) error { return r.bounce(ctx, "edge1", 2*time.Second) },
		func(ctx context.Context) error { return r.bounce(ctx, "redis", time.Second) },
		func(ctx context.Context) error { return r.Sys.Part("edge2").Stop(ctx, 3*time.Second) },
		func(ctx context.Context) error { return r.Sys.Part("publish").Stop(ctx, 3*time.Second) },
		func(ctx context.Context) error { return r.Sys.Part("auth").Stop(ctx, 3*time.Second) },
		func(ctx context.Context) error { return r.Sys.Part("gateway").Stop(ctx, 3*time.Second) },
		func(ctx context.Context) error { return r.held(ctx, silent, "edge2", 4*time.Second) },
		func(ctx context.Context) error { return r.held(ctx, proxy.Rules{Mute: true}, "publish", 3*time.Second) },
		func(ctx context.Context) error {
			return r.held(ctx, proxy.Rules{SwallowEvery: 20}, "publish", 5*time.Second)
		},
		func(ctx context.Context) error {
			return r.held(ctx, proxy.Rules{CutAfter: 20_000}, "edge2", 5*time.Second)
		},
	}
	m := measures{}
	start := time.Now()
	for n := 0; time.Since(start) < length; n++ {
		picked := r.Random.IntN(len(faults))
		r.Log("minute %d: fault %d of %d", n, picked+1, len(faults))
		if err := faults[picked](ctx); err != nil {
			return err
		}
		if err := r.Wait(ctx, soakCalm); err != nil {
			return err
		}
		if err := r.again(ctx, "a fault is over", 5); err != nil {
			return err
		}
		for next := start.Add(time.Duration(n+1) * soakEvery); time.Now().Before(next); {
			if time.Since(start) > length/2 {
				m.take(ctx, r)
			}
			if err := r.Wait(ctx, soakSample); err != nil {
				return err
			}
		}
	}
	for _, name := range m.names() {
		r.most(name+" grows an hour", m[name].slope(), soakSlope, "%")
	}
	return nil
}

// measures are what was measured, by name.
type measures map[string]series

// series is one measure over time.
type series []struct{ hours, value float64 }

// take measures everything once.
func (m measures) take(ctx context.Context, r *Run) {
	note := func(name string, value float64) {
		m[name] = append(m[name], struct{ hours, value float64 }{float64(time.Now().UnixMilli()) / 3_600_000, value})
	}
	for _, name := range proc.Parts {
		if name == "edge1" { // it is killed now and then
			continue
		}
		note("memory of "+name, float64(r.Sys.Part(name).RSS()))
		note("goroutines of "+name, r.Sys.Goroutines(ctx, name))
		note("descriptors of "+name, r.Sys.Metric(ctx, name, "process_open_fds"))
	}
	// Receipts are kept for a day, so their number only grows.
	size, err := r.Sys.Redis[0].CLI(ctx, "dbsize")
	receipts, err2 := r.Sys.Redis[0].CLI(ctx, "--scan", "--pattern", "*}:k:*")
	if err == nil && err2 == nil {
		note("keys of Redis but receipts", number(strings.TrimPrefix(size, "(integer) "))-float64(strings.Count(receipts, "\n")))
	}
}

func (m measures) names() []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// slope is by how many percent of its median the series grows an hour: the median of the slopes of all pairs (P. K. Sen, 1968), which
// single outliers do not move.
func (s series) slope() float64 {
	var slopes, values []float64
	for i, a := range s {
		values = append(values, a.value)
		for _, b := range s[i+1:] {
			slopes = append(slopes, (b.value-a.value)/(b.hours-a.hours))
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return 100 * median(slopes) / max(median(values), 1)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
