package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is one figure of one run.
type result struct {
	Round    int     `json:"round"`
	Scenario string  `json:"scenario"`
	Target   string  `json:"target"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Value    float64 `json:"value"`
}

// report collects figures and writes them.
type report struct {
	o       options
	started time.Time
	all     []result
}

func newReport(o options) *report { return &report{o: o, started: time.Now()} }

func (r *report) add(one result) {
	r.all = append(r.all, one)
	fmt.Fprintf(os.Stderr, "%d %-20s %-22s %-30s %12.2f %s\n", one.Round, one.Scenario, one.Target, one.Metric, one.Value, one.Unit)
}

// row is a figure of a target over all rounds.
type row struct {
	scenario, target, metric, unit string
	values                         []float64 // sorted
}

func (r row) median() float64 {
	n := len(r.values)
	return (r.values[(n-1)/2] + r.values[n/2]) / 2
}

func (r *report) rows() []row {
	var rows []row
	at := make(map[string]int)
	for _, one := range r.all {
		key := one.Scenario + "\x00" + one.Target + "\x00" + one.Metric
		i, ok := at[key]
		if !ok {
			i = len(rows)
			at[key] = i
			rows = append(rows, row{one.Scenario, one.Target, one.Metric, one.Unit, nil})
		}
		rows[i].values = append(rows[i].values, one.Value)
	}
	// One scenario after the other, metrics together, targets in the order of the command line.
	var targets []string
	for _, t := range r.o.targets {
		targets = append(targets, t.Name)
	}
	order := func(pick func(result) string) func(string) int {
		var seen []string
		for _, one := range r.all {
			if !slices.Contains(seen, pick(one)) {
				seen = append(seen, pick(one))
			}
		}
		return func(s string) int { return slices.Index(seen, s) }
	}
	sc, me := order(func(o result) string { return o.Scenario }), order(func(o result) string { return o.Scenario + o.Metric })
	slices.SortStableFunc(rows, func(a, b row) int {
		if d := sc(a.scenario) - sc(b.scenario); d != 0 {
			return d
		}
		if d := me(a.scenario+a.metric) - me(b.scenario+b.metric); d != 0 {
			return d
		}
		return slices.Index(targets, a.target) - slices.Index(targets, b.target)
	})
	for _, row := range rows {
		slices.Sort(row.values)
	}
	return rows
}

// environment is what the figures depend on.
func (r *report) environment() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d cores, %s", r.started.UTC().Format("2006-01-02 15:04 MST"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/centrifugal/centrifuge", "github.com/nats-io/nats-server/v2", "github.com/gorilla/websocket", "google.golang.org/grpc":
				fmt.Fprintf(&b, ", %s %s", d.Path, d.Version)
			}
		}
	}
	if words := version("redis-server", "--version"); len(words) > 2 {
		fmt.Fprintf(&b, ", redis-server %s", strings.TrimPrefix(words[2], "v="))
	}
	if words := version(r.o.env.Trunkline, "version"); len(words) > 1 {
		fmt.Fprintf(&b, ", trunkline %s", words[1])
	}
	return b.String()
}

// version is the words that a program says about itself, none when it does not run.
func version(program string, args ...string) []string {
	out, err := exec.Command(program, args...).Output() //nolint:gosec,noctx // what is measured
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}

// table is Markdown: medians, ranges, ratios to the base.
func (r *report) table() string {
	var b strings.Builder
	rows := r.rows()
	fmt.Fprintf(&b, "`bench %s`\n\n%s; %d rounds\n\n", strings.Join(os.Args[1:], " "), r.environment(), r.o.rounds)
	fmt.Fprintf(&b, "| scenario | figure | target | median | min–max | unit | to %s |\n|---|---|---|---:|---:|---|---:|\n", r.o.base)
	for _, one := range rows {
		ratio := ""
		for _, base := range rows {
			if base.target == r.o.base && base.scenario == one.scenario && base.metric == one.metric && base.median() > 0 {
				ratio = fmt.Sprintf("%.2f", one.median()/base.median())
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s–%s | %s | %s |\n", one.scenario, one.metric, one.target,
			short(one.median()), short(one.values[0]), short(one.values[len(one.values)-1]), one.unit, ratio)
	}
	return b.String()
}

func short(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// write prints the table and writes the files.
func (r *report) write() error {
	if len(r.all) == 0 {
		return nil
	}
	fmt.Print(r.table())
	if r.o.out == "" {
		return nil
	}
	var lines strings.Builder
	enc := json.NewEncoder(&lines)
	if err := enc.Encode(map[string]string{"command": typed(os.Args[1:]), "environment": r.environment()}); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	for _, one := range r.all {
		if err := enc.Encode(one); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	for suffix, text := range map[string]string{".jsonl": lines.String(), ".md": r.table(), ".svg": r.plot()} {
		if err := os.WriteFile(r.o.out+suffix, []byte(text), 0o644); err != nil { //nolint:gosec // to be read by all
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

// typed is a command line as it can be given to a shell again.
func typed(args []string) string {
	all := make([]string, len(args))
	for i, arg := range args {
		all[i] = arg
		if strings.ContainsAny(arg, " '\"$*?;&|<>()") {
			all[i] = strconv.Quote(arg)
		}
	}
	return strings.Join(all, " ")
}
