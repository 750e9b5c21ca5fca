// Command bench compares Trunkline with its peers: whole processes on this machine, fresh for each run, with this process as the load.
// CPU is user and system time of all server processes, Redis too, from /proc. Rates on a shared machine swing, so compare CPU and ratios
// of one invocation, not absolute figures of two.
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
	env      peer.Env
	targets  []peer.Target
	only     []string
	base     string
	rounds   int
	scale    float64
	time     time.Duration
	settle   time.Duration
	out      string
	profiles string
	sizing   string
}

func main() {
	var err error
	if serve := server(os.Args); serve != nil {
		err = serve(os.Args[2:])
	} else {
		// The loops and the pacer wait in system calls. There each keeps a processor of Go's until the runtime notices, so
		// publishers need some of their own.
		runtime.GOMAXPROCS(2*runtime.NumCPU() + 1)
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// server is what this program is started as by itself.
func server(args []string) func(args []string) error {
	if len(args) < 2 {
		return nil
	}
	return peer.Servers[args[1]]
}

func parse() (options, error) {
	var o options
	names := flag.String("targets", "trunkline-redis", "what to measure, comma separated; \"all\", or with -list what there is")
	only := flag.String("only", "", "scenarios to run, comma separated, by the first words of their names; all by default")
	list := flag.Bool("list", false, "list targets and scenarios")
	flag.StringVar(&o.env.Trunkline, "trunkline", "../bin/trunkline", "the program to measure")
	flag.StringVar(&o.env.SocketIO, "socketio", "socketio", "folder of the Socket.IO server, with its packages")
	flag.StringVar(&o.base, "base", "centrifuge-redis", "the target that ratios are to")
	flag.IntVar(&o.rounds, "rounds", 1, "how often each scenario runs against each target")
	flag.Float64Var(&o.scale, "scale", 1, "factor on the number of clients")
	flag.DurationVar(&o.time, "time", 5*time.Second, "how long each load lasts")
	flag.DurationVar(&o.settle, "settle", 12*time.Second, "how long idle connections are left alone before their memory is taken")
	flag.StringVar(&o.out, "out", "", "prefix of files that get the figures (.jsonl), the table (.md) and plots (.svg)")
	flag.StringVar(&o.profiles, "profile", "", "folder that gets CPU, heap and block profiles of Trunkline for each scenario")
	flag.StringVar(&o.sizing, "sizing", "", "print what docs/sizing.md computes from a .jsonl of make bench-scale, and measure nothing")
	flag.Parse()
	all := peer.All()
	if *list {
		for _, t := range all {
			fmt.Printf("%-24s %s\n", t.Name, t.About)
		}
		for _, s := range scenarios(o) {
			fmt.Println(s.name)
		}
		os.Exit(0)
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for name := range strings.SplitSeq(*names, ",") {
		found := false
		for _, t := range all {
			if t.Name == name || name == "all" {
				o.targets, found = append(o.targets, t), true
			}
		}
		if !found {
			return o, fmt.Errorf("no target %q; -list shows them", name)
		}
	}
	return o, nil
}

// wanted tells if a scenario was asked for.
func (o options) wanted(name string) bool {
	for _, w := range o.only {
		if name == w || strings.HasPrefix(name, w+" ") {
			return true
		}
	}
	return len(o.only) == 0
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	if o.sizing != "" {
		return sizing(os.Stdout, o.sizing)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	runtime.GOMAXPROCS(runtime.NumCPU())
	rep := newReport(o)
	var failures []error
	for round := range o.rounds {
		for _, sc := range scenarios(o) {
			if !o.wanted(sc.name) {
				continue
			}
			for _, t := range order(o.targets, round) {
				if !t.Has(sc.needs) {
					continue
				}
				if err := one(ctx, o, rep, round, sc, t); err != nil {
					err = fmt.Errorf("%s, %s: %w", sc.name, t.Name, err)
					fmt.Fprintln(os.Stderr, err)
					failures = append(failures, err)
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
	}
	return errors.Join(append(failures, rep.write())...)
}

// order lets every other round run backwards, so that no target is always the first or the one after an expensive one.
func order(targets []peer.Target, round int) []peer.Target {
	targets = slices.Clone(targets)
	if round%2 == 1 {
		slices.Reverse(targets)
	}
	return targets
}

// one runs a scenario against fresh servers.
func one(ctx context.Context, o options, rep *report, round int, sc scenario, t peer.Target) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+2*o.time+o.settle)
	defer cancel()
	sys, err := t.Start(ctx, o.env)
	if err != nil {
		return err
	}
	defer sys.Stop()
	x := &trial{o: o, sys: sys, name: sc.name, add: func(metric, unit string, value float64) {
		rep.add(result{round, sc.name, t.Name, metric, unit, value})
	}}
	if tl, ok := sys.(*peer.Trunkline); ok && o.profiles != "" {
		x.profile = func() func() { return record(ctx, tl, o.profiles, sc.name, o.time) }
	}
	return sc.run(ctx, x)
}
