package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/faults/build"
	"github.com/trunkline/trunkline/faults/rows"
)

// controls runs the rows of builds that are broken on purpose. One that stays green fails.
func controls(ctx context.Context, o options, maker *build.Maker, dir string) error {
	green := 0
	for _, c := range rows.Controls() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), c.Name) {
			continue
		}
		i := slices.IndexFunc(rows.Table(), func(r rows.Row) bool { return r.ID == c.Row })
		row := rows.Table()[i]
		program, err := maker.Broken(ctx, c.Name, row.System.Movable, c.Changes...)
		if err != nil {
			return err
		}
		folder := rows.Folder(dir, c.Name, c.Seed)
		if o.keep != "" {
			folder = rows.Folder(o.keep, c.Name, c.Seed)
		}
		res := row.Do(ctx, folder, program, c.Seed, true, func(string, ...any) {})
		red := res.Counts[c.Count] > 0
		word := "red  "
		if !red {
			word = "GREEN"
			green++
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s %-20s %s, seed %d: %s %d of %d delivered %s\n",
			word, c.Name, c.Row, c.Seed, c.Count, res.Counts[c.Count], res.Came, res.Error)
		_ = os.Remove(program)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	if green > 0 {
		return fmt.Errorf("%d controls stayed green: their rows do not see such a fault", green)
	}
	return nil
}
