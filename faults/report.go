package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

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
		line := fmt.Sprintf("| %s | %s | %d / %d | %s | ", row.ID, row.Fault, r.OK, r.Came, verdict)
		_, _ = fmt.Fprintf(w, "%s%s |\n", line, figures(r, longest-len(line)))
	}
	return nil
}

// longest is how long a line of the table may be.
const longest = 156

// figures are the counts that are not 0, and what has a bound, as many as there is room for.
func figures(r rows.Result, room int) string {
	var all []string
	for _, c := range judge.Counts() {
		if n := r.Counts[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", c, n))
		}
	}
	for _, f := range r.Figures {
		if f.Bound > 0 && f.Unit != "" {
			all = append(all, fmt.Sprintf("%s %.3g of %.3g %s", f.Name, f.Value, f.Bound, f.Unit))
		}
	}
	text := ""
	for _, one := range all {
		if len(text)+len(one)+2 > room {
			break
		}
		if text != "" {
			text += "; "
		}
		text += one
	}
	return text
}
