package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bench/load"
	"github.com/trunkline/trunkline/bench/peer"
)

// size is how long a payload is.
const size = 128

// trial is one run of a scenario against one target.
type trial struct {
	o       options
	sys     peer.System
	name    string
	add     func(metric, unit string, value float64)
	profile func() func() // nil for none
}

// usage is processor time since the start of each.
type usage struct {
	at                    time.Time
	servers, own, machine time.Duration
	each                  []time.Duration
	finish                func()
}

func (x *trial) usage() usage {
	u := usage{at: time.Now(), own: peer.CPU(os.Getpid()), machine: peer.MachineCPU()}
	for _, p := range x.sys.Processes() {
		u.each = append(u.each, p.CPU())
		u.servers += u.each[len(u.each)-1]
	}
	return u
}

// begin starts measuring.
func (x *trial) begin() usage {
	var finish func()
	if x.profile != nil {
		finish = x.profile()
	}
	u := x.usage()
	u.finish = finish
	return u
}

// end reports what was used since u, for n things of a kind, and how long it took.
func (x *trial) end(u usage, n float64, unit string, per float64) time.Duration {
	now := x.usage()
	took := now.at.Sub(u.at)
	cpu := now.servers - u.servers
	scaled := func(d time.Duration) float64 { return d.Seconds() / n * per }
	x.add("cpu", unit, scaled(cpu))
	parts, each := x.parts(func(i int, _ *peer.Process) float64 { return scaled(now.each[i] - u.each[i]) })
	for _, name := range parts {
		if len(parts) > 1 {
			x.add("cpu of "+name, unit, each[name])
		}
	}
	own := now.own - u.own
	x.add("cpu of the load", unit, scaled(own))
	x.add("cores used by others", "cores", max(0, (now.machine-u.machine-cpu-own).Seconds()/took.Seconds()))
	if u.finish != nil {
		u.finish()
	}
	return took
}

// parts adds up a figure of the processes of each name, and returns the names in their order.
func (x *trial) parts(of func(i int, p *peer.Process) float64) (names []string, sums map[string]float64) {
	sums = make(map[string]float64)
	for i, p := range x.sys.Processes() {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
		sums[p.Name] += of(i, p)
	}
	return names, sums
}

// memory is what each part has resident, in KiB.
func (x *trial) memory() (names []string, kib map[string]float64) {
	return x.parts(func(_ int, p *peer.Process) float64 { return p.RSS() })
}

// servers is how many processes hold connections.
func (x *trial) servers() (n float64) {
	all := x.sys.Processes()
	for _, p := range all {
		if p.Name == all[0].Name {
			n++
		}
	}
	return n
}

// gather connects n clients with tokens of their own.
func (x *trial) gather(ctx context.Context, n int, join peer.Join, change func(*load.Options)) (*load.Crowd, error) {
	return x.gatherEach(ctx, n, func(int) peer.Join { return join }, change)
}

// gatherEach is gather for clients that do not join the same.
func (x *trial) gatherEach(ctx context.Context, n int, join func(i int) peer.Join, change func(*load.Options)) (*load.Crowd, error) {
	o := load.Options{Addr: x.sys.Addr(), N: n, Script: func(i int) load.Script { return x.sys.Script(i, join(i)) }}
	if change != nil {
		change(&o)
	}
	return load.Open(ctx, o)
}

// ages reports how old messages were when they came.
func (x *trial) ages(c *load.Crowd) {
	h := c.Ages()
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}} {
		x.add("latency "+q.name, "ms", float64(h.Quantile(q.q).Microseconds())/1000)
	}
}

// bytes reports what a delivery is on the wire, without the headers of TCP. The crowd has stopped.
func (x *trial) bytes(c *load.Crowd) {
	bytes, _ := c.Traffic()
	x.add("bytes", "a delivery", float64(bytes)/float64(max(1, c.Total())))
}

// check stops a crowd and compares what came with what was sent.
func (x *trial) check(c *load.Crowd, sent func(i int) map[uint32]uint64) {
	c.Stop()
	t := c.Tally(sent)
	x.add("lost, repeated, out of order", "", t.Wrong())
	if t.Wrong() > 0 {
		fmt.Fprintf(os.Stderr, "%s: %s; %v\n", x.name, t, c.Fault())
	}
}

// drained waits until so many messages came. What does not come is counted by check.
func drained(ctx context.Context, c *load.Crowd, total int64) error {
	err := c.Wait(ctx, 10*time.Second, func() bool { return c.Total() >= total })
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "%d of %d messages came: %v\n", c.Total(), total, err)
		return nil
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
