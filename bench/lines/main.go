// Command lines holds Trunkline to what it has to carry: connections, storms, overload, long inboxes and histories. Each line prints
// its figures, with their bounds. Servers and load share the machine, so run it on one where nothing else works.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bench/peer"
)

// options are the command line.
type options struct {
	env    peer.Env
	only   []string
	scale  float64
	settle time.Duration
	time   time.Duration
}

// line is one thing that the product has to carry.
type line struct {
	id    string
	says  string
	set   []string // settings of the product
	edges int
	run   func(ctx context.Context, t *trial) error
}

// tickets are keys that let edges give resume tickets.
var tickets = []string{"edge.tickets.keys=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}

func lines() []line {
	return []line{
		{"L1", "idle connections", nil, 2, idle},
		{"L2", "readers beside clients that stop reading", nil, 1, stalled},
		{"L3", "one channel, many subscribers", nil, 1, fanout},
		{"L4a", "both edges are killed, clients come back with backoff", nil, 2, storm(patient)},
		{"L4at", "the same, with resume tickets", tickets, 2, storm(patient)},
		{"L4b", "both edges are killed, clients come back every 100 ms", nil, 2, storm(hostile)},
		{"L4bt", "the same, with resume tickets", tickets, 2, storm(hostile)},
		{"L5", "an edge drains", nil, 2, drain},
		{"L6", "publishers ask for three times of what there is", nil, 1, overload},
		{"L9", "long inboxes", []string{"inbox.limit=20000"}, 1, inboxes},
		{"L10", "a long history", []string{"channels.defaults.history_length=1000000"}, 1, history},
		{"L11", "tokens", nil, 1, tokens},
	}
}

// trial is one run of a line.
type trial struct {
	*options
	sys  *peer.Trunkline
	id   string
	fail bool
}

// n is a number of clients or messages, scaled.
func (t *trial) n(full int) int { return max(10, int(float64(full)*t.scale)) }

// most prints a figure that may be at most its bound.
func (t *trial) most(what string, figure, bound float64, unit string) {
	t.print(what, figure, "<= "+short(bound), unit, figure <= bound)
}

// least prints a figure that has to be at least its bound.
func (t *trial) least(what string, figure, bound float64, unit string) {
	t.print(what, figure, ">= "+short(bound), unit, figure >= bound)
}

// note prints a figure without a bound.
func (t *trial) note(what string, figure float64, unit string) {
	t.print(what, figure, "", unit, true)
}

func (t *trial) print(what string, figure float64, bound, unit string, pass bool) {
	word := "pass"
	switch {
	case bound == "":
		word = ""
	case !pass:
		word, t.fail = "FAIL", true
	}
	fmt.Printf("%-5s %-58s %12s %-12s %-14s %s\n", t.id, what, short(figure), unit, bound, word)
}

func short(f float64) string {
	if f >= 1000 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

func main() {
	runtime.GOMAXPROCS(2*runtime.NumCPU() + 1) // loops and the pacer wait in system calls
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	only := flag.String("only", "", "lines to run, comma separated; all by default")
	list := flag.Bool("list", false, "list the lines")
	flag.StringVar(&o.env.Trunkline, "trunkline", "../bin/trunkline", "the program to measure")
	flag.Float64Var(&o.scale, "scale", 1, "factor on the numbers of clients and messages; bounds are for 1")
	flag.DurationVar(&o.settle, "settle", 5*time.Minute, "how long idle connections are watched")
	flag.DurationVar(&o.time, "time", time.Minute, "how long a load lasts")
	flag.Parse()
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var errs []error
	for _, l := range lines() {
		switch {
		case *list:
			fmt.Printf("%-5s %s\n", l.id, l.says)
		case len(o.only) == 0 || slices.Contains(o.only, l.id):
			errs = append(errs, one(ctx, o, l))
		}
	}
	return errors.Join(errs...)
}

// one runs a line against fresh servers.
func one(ctx context.Context, o options, l line) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute+2*o.settle+2*o.time)
	defer cancel()
	env := o.env
	env.Set = l.set
	sys, err := peer.Deployment(ctx, env, l.edges)
	if err != nil {
		return fmt.Errorf("%s: %w", l.id, err)
	}
	defer sys.Stop()
	t := &trial{options: &o, sys: sys, id: l.id}
	fmt.Printf("%-5s %s\n", l.id, l.says)
	if err := l.run(ctx, t); err != nil {
		return fmt.Errorf("%s, %s: %w", l.id, l.says, err)
	}
	if t.fail {
		return fmt.Errorf("%s, %s: a bound was not kept", l.id, l.says)
	}
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// memory is what the edges have resident, in KiB.
func (t *trial) memory() (sum float64) {
	for i := range t.sys.Edges() {
		sum += t.sys.Edge(i).RSS()
	}
	return sum
}

// cpu is what the edges have used.
func (t *trial) cpu() (sum time.Duration) {
	for i := range t.sys.Edges() {
		sum += t.sys.Edge(i).CPU()
	}
	return sum
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
