// Command bench measures Trunkline as whole processes: one server with all roles over a real Redis, and
// this process as the load. CPU is user and system time of the server and of Redis, from /proc; rates on a shared machine
// swing, so compare CPU and ratios of one run, not absolute times.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one figure of one round.
type result struct {
	Scenario string  `json:"scenario"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Value    float64 `json:"value"`
	Round    int     `json:"round"`
}

// scenario measures a fresh system.
type scenario struct {
	name string
	run  func(ctx context.Context, s *system, add func(metric, unit string, value float64)) error
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	binary := flag.String("trunkline", "bin/trunkline", "the program to measure")
	rounds := flag.Int("rounds", 1, "how often each scenario runs")
	only := flag.String("only", "", "scenarios to run, comma separated; all by default")
	store := flag.String("store", "redis", "redis or memory")
	seconds := flag.Duration("time", 5*time.Second, "how long each load lasts")
	profiles := flag.String("profile", "", "folder that gets a CPU and a heap profile of the server for each scenario")
	out := flag.String("out", "", "file that gets the figures as JSON lines")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	var all []result
	for round := range *rounds {
		for _, sc := range scenarios(*seconds) {
			if *only != "" && !slices.Contains(strings.Split(*only, ","), sc.name) {
				continue
			}
			s, err := startSystem(ctx, *binary, *store)
			if err != nil {
				return err
			}
			finish := s.profile(*profiles, sc.name, *seconds)
			err = sc.run(ctx, s, func(metric, unit string, value float64) {
				all = append(all, result{sc.name, metric, unit, value, round})
				fmt.Fprintf(os.Stderr, "%-28s %-34s %12.2f %s\n", sc.name, metric, value, unit)
			})
			finish()
			s.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
		}
	}
	report(all)
	return save(*out, all)
}

// report prints the median and range of each figure.
func report(all []result) {
	fmt.Printf("%s/%s, %d cores, %s\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Println("| scenario | metric | median | min–max | unit |")
	fmt.Println("|---|---|---:|---:|---|")
	var seen []string
	for _, r := range all {
		key := r.Scenario + r.Metric
		if slices.Contains(seen, key) {
			continue
		}
		seen = append(seen, key)
		var values []float64
		for _, o := range all {
			if o.Scenario+o.Metric == key {
				values = append(values, o.Value)
			}
		}
		slices.Sort(values)
		fmt.Printf("| %s | %s | %.2f | %.2f–%.2f | %s |\n", r.Scenario, r.Metric, values[len(values)/2], values[0], values[len(values)-1], r.Unit)
	}
}

func save(path string, all []result) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path) //nolint:gosec // the user's own word
	if err != nil {
		return fmt.Errorf("save results: %w", err)
	}
	enc := json.NewEncoder(f)
	for _, r := range all {
		if err := enc.Encode(r); err != nil {
			_ = f.Close()
			return fmt.Errorf("save results: %w", err)
		}
	}
	return f.Close()
}
