package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/trunkline/trunkline/faults/rows"
	"github.com/trunkline/trunkline/internal/judge"
)

// report writes results as the table of docs/reliability.md. Of several results of a row the last one counts.
func report(w io.Writer, path string) error {
	f, err := os.Open(path) //nolint:gosec // the caller's own
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	results := map[string]rows.Result{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r rows.Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		results[r.ID] = r
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, row := range rows.Table() {
		r, ok := results[row.ID]
		if !ok {
			continue
		}
		verdict := "held"
		if !r.Pass {
			verdict = "**not held**"
		}
		_, _ = fmt.Fprintf(w, "| %s | %s: %s | %s | %d / %d | %s | %s |\n", row.ID, row.Fault, row.How, row.Promises, r.OK, r.Came, figures(r), verdict)
	}
	return nil
}

// figures are the counts that are not 0, and what has a bound.
func figures(r rows.Result) string {
	var all []string
	for _, c := range judge.Counts() {
		if n := r.Counts[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", c, n))
		}
	}
	for _, f := range r.Figures {
		if f.Bound > 0 && f.Unit != "" {
			all = append(all, fmt.Sprintf("%s: %.2g of %.3g %s", f.Name, f.Value, f.Bound, f.Unit))
		}
	}
	return strings.Join(all, "; ")
}
