// Command faults does to a real system what happens to real systems, and judges what it kept. It is run by make faults, and
// docs/reliability.md is about it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/trunkline/trunkline/faults/build"
	"github.com/trunkline/trunkline/faults/rows"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	only, keep, program, report   string
	quick, asJSON, list, controls bool
	seed                          uint64
	soak                          time.Duration
}

func run(ctx context.Context) error {
	var o options
	flag.StringVar(&o.only, "only", "", "comma separated ids of rows")
	flag.BoolVar(&o.quick, "quick", false, "the quick set, with fewer repetitions")
	flag.Uint64Var(&o.seed, "seed", 0, "what random choices are made from; 0 takes the time")
	flag.StringVar(&o.keep, "keep", "", "a folder for records and logs, which stay there")
	flag.BoolVar(&o.asJSON, "json", false, "print one JSON object a row")
	flag.BoolVar(&o.list, "list", false, "print the rows and run nothing")
	flag.StringVar(&o.program, "program", "", "the product; it is built when this is empty")
	flag.BoolVar(&o.controls, "controls", false, "make builds that are broken on purpose, and see their rows turn red; -only takes their names")
	flag.StringVar(&o.report, "report", "", "write results of -json in this file as a table, and run nothing")
	flag.DurationVar(&o.soak, "soak", 0, "one row instead of the table: a random fault each minute for so long")
	flag.Parse()
	if o.report != "" {
		return report(os.Stdout, o.report)
	}
	if o.controls {
		return withMaker(ctx, func(maker *build.Maker, dir string) error { return controls(ctx, o, maker, dir) })
	}
	list, err := chosen(o)
	if err != nil {
		return err
	}
	if o.list {
		for _, r := range list {
			_, _ = fmt.Fprintf(os.Stdout, "%-5s %s: %s [%s]\n", r.ID, r.Fault, r.How, r.Promises)
		}
		return nil
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	return withMaker(ctx, func(maker *build.Maker, dir string) error { return all(ctx, o, list, maker, dir) })
}

// withMaker gives a maker and its folder to a function, and removes the folder then.
func withMaker(ctx context.Context, do func(maker *build.Maker, dir string) error) error {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	maker, err := build.New(ctx, dir)
	if err != nil {
		return err
	}
	return do(maker, dir)
}

// chosen returns the rows that are to run.
func chosen(o options) ([]rows.Row, error) {
	if o.soak > 0 {
		return []rows.Row{rows.Soak(o.soak)}, nil
	}
	var list []rows.Row
	wanted := map[string]bool{}
	for id := range strings.SplitSeq(o.only, ",") {
		wanted[strings.TrimSpace(id)] = o.only != ""
	}
	for _, r := range rows.Table() {
		if o.only == "" && (r.Quick || !o.quick) || wanted[r.ID] {
			list = append(list, r)
			delete(wanted, r.ID)
		}
	}
	for id, yes := range wanted {
		if yes {
			return nil, fmt.Errorf("there is no row %q; -list shows them", id)
		}
	}
	return list, nil
}

// all runs the rows, one after the other.
func all(ctx context.Context, o options, list []rows.Row, maker *build.Maker, dir string) error {
	programs := map[bool]string{false: o.program}
	failed := 0
	for i, row := range list {
		program, err := program(ctx, programs, maker, row.System.Movable)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%d of %d: %s, %s\n", i+1, len(list), row.ID, row.Fault)
		base := dir
		if o.keep != "" {
			if base, err = filepath.Abs(o.keep); err != nil {
				return err
			}
		}
		folder := rows.Folder(base, row.ID, o.seed)
		res := row.Do(ctx, folder, program, o.seed, o.quick, func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "     "+format+"\n", args...)
		})
		if o.keep == "" {
			_ = os.RemoveAll(folder)
		}
		if !res.Pass {
			failed++
		}
		if o.asJSON {
			b, err := json.Marshal(res)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(os.Stdout, string(b))
		} else {
			_, _ = fmt.Fprintln(os.Stdout, res)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rows failed; run one again with -only ID -seed %d -keep FOLDER", failed, len(list), o.seed)
	}
	return nil
}

// program builds the product when it is needed first.
func program(ctx context.Context, programs map[bool]string, maker *build.Maker, movable bool) (string, error) {
	if programs[movable] != "" {
		return programs[movable], nil
	}
	fmt.Fprintln(os.Stderr, "building the product")
	made := maker.Plain
	if movable {
		made = maker.Movable
	}
	path, err := made(ctx)
	programs[movable] = path
	return path, err
}
