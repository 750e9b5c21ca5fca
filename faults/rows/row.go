// Package rows is the table of faults: what is done to a running system, and what it has to keep meanwhile.
package rows

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/workload"
	"github.com/trunkline/trunkline/internal/judge"
)

// Row is one fault.
type Row struct {
	ID, Fault, How string
	Promises       string
	System         proc.Options
	// Load changes the default workload.
	Load func(o *workload.Options)
	// Allow is how much of a count is right; -1 is any number. What is not in it is 0.
	Allow map[judge.Count]int
	// Quick says that the row is in the quick set.
	Quick bool
	// Long is how much longer than others the row takes.
	Long time.Duration
	// Inject does what the row is about, while the workload runs.
	Inject func(ctx context.Context, r *Run) error
}

// Any allows a count.
const Any = -1

// Run is a row under way.
type Run struct {
	Sys    *proc.System
	Load   *workload.Load
	Rec    *judge.Record
	Random *rand.Rand
	Quick  bool
	Log    func(format string, args ...any)

	figures []Figure
	after   []func(v judge.Verdict)
}

// Figure is what was measured, and what it may be.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound,omitempty"`
	Unit  string  `json:"unit"`
	Pass  bool    `json:"pass"`
}

// Took notes a time that has a bound.
func (r *Run) Took(what string, took time.Duration, bound judge.Bound) {
	r.most(what, took.Seconds(), bound.Most.Seconds(), "s")
}

// most notes a value that has an upper bound; the worst one of a name is kept.
func (r *Run) most(what string, value, bound float64, unit string) {
	for i, f := range r.figures {
		if f.Name == what {
			if value > f.Value {
				r.figures[i].Value, r.figures[i].Pass = value, value <= bound
			}
			return
		}
	}
	r.figures = append(r.figures, Figure{what, value, bound, unit, value <= bound})
}

// again waits until a publication is answered OK after what has happened, and notes how many seconds that took.
func (r *Run) again(ctx context.Context, what string, most float64) error {
	took, err := r.Load.NextOK(ctx)
	if err != nil {
		return err
	}
	r.most(what+", to the next OK", took.Seconds(), most, "s")
	return nil
}

// turnsRed waits until a process says that it is not ready, and notes how long that took from the start of a fault.
func (r *Run) turnsRed(ctx context.Context, name string, start time.Time) error {
	for r.Sys.Health(ctx, name) == nil {
		if err := r.Wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	r.Took("readiness turns red", time.Since(start), judge.ReadyRed)
	return nil
}

// least notes a value that has a lower bound.
func (r *Run) least(what string, value, bound float64, unit string) {
	r.figures = append(r.figures, Figure{what, value, bound, unit, value >= bound})
}

// Seen notes a value that has no bound.
func (r *Run) Seen(what string, value float64, unit string) {
	r.figures = append(r.figures, Figure{what, value, 0, unit, true})
}

// Delay holds the time from the answer to the delivery to a bound, for 99 of 100.
func (r *Run) Delay(bound judge.Bound) {
	r.after = append(r.after, func(v judge.Verdict) {
		r.Took("answered to delivered, p99", v.Delay.Quantile(0.99), bound)
	})
}

// Recovers wants every resume to be told that everything can be replayed.
func (r *Run) Recovers() {
	r.after = append(r.after, func(v judge.Verdict) { r.most("resumes without recovered", float64(v.Unrecovered), 0, "") })
}

// Check notes something that has to be so.
func (r *Run) Check(what string, ok bool) {
	value := 0.0
	if ok {
		value = 1
	}
	r.figures = append(r.figures, Figure{what, value, 1, "", ok})
}

// Wait waits while the workload runs.
func (r *Run) Wait(ctx context.Context, d time.Duration) error { return proc.Wait(ctx, d) }

// times is how often a fault is repeated: fewer times in a quick run.
func (r *Run) times(n int) int {
	if r.Quick {
		return max(1, (n+1)/2)
	}
	return n
}

// Result is what a row came to.
type Result struct {
	ID       string              `json:"id"`
	Fault    string              `json:"fault"`
	Seed     uint64              `json:"seed"`
	Took     float64             `json:"took_s"`
	Pass     bool                `json:"pass"`
	Error    string              `json:"error,omitempty"`
	OK       int                 `json:"acked"`
	Came     int                 `json:"delivered"`
	Gaps     map[string]int      `json:"gaps,omitempty"`
	Counts   map[judge.Count]int `json:"counts,omitempty"`
	Figures  []Figure            `json:"figures,omitempty"`
	Findings []string            `json:"findings,omitempty"`
}

// Do runs a row once, in a folder of its own.
func (row Row) Do(ctx context.Context, dir, program string, seed uint64, quick bool, log func(format string, args ...any)) Result {
	start := time.Now()
	res := Result{ID: row.ID, Fault: row.Fault, Seed: seed}
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute+row.Long)
	defer cancel()
	r := &Run{Random: rand.New(rand.NewPCG(seed, 7)), Quick: quick, Log: log} //nolint:gosec // repeatable
	err := row.drive(ctx, r, dir, program, seed)
	var v judge.Verdict
	if r.Rec != nil {
		if cerr := r.Rec.Close(); err == nil {
			err = cerr
		}
		var jerr error
		if v, jerr = judge.Read(dir); err == nil {
			err = jerr
		}
	}
	for _, f := range r.after {
		f(v)
	}
	row.judge(&res, r, v, err)
	res.Took = time.Since(start).Seconds()
	return res
}

// drive starts everything, does the row's fault, and ends everything.
func (row Row) drive(ctx context.Context, r *Run, dir, program string, seed uint64) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	o := row.System
	o.Program = program
	if o.Redis == "" {
		o.Redis = proc.Always
	}
	r.Sys, err = proc.Start(ctx, dir, o)
	defer r.Sys.Stop()
	if err != nil {
		return err
	}
	if r.Rec, err = judge.Create(dir, 1); err != nil {
		return err
	}
	load := workload.Default()
	if row.Load != nil {
		row.Load(&load)
	}
	r.Load, err = workload.Start(ctx, r.Sys, r.Rec, load, seed)
	if err != nil {
		if r.Load != nil {
			r.Load.Stop()
		}
		return err
	}
	if _, err = r.Load.NextOK(ctx); err == nil {
		err = r.Wait(ctx, time.Second)
	}
	if err == nil && row.Inject != nil {
		err = row.Inject(ctx, r)
	}
	if err == nil {
		err = r.Wait(ctx, 2*time.Second)
	}
	ended := r.Load.Finish(ctx)
	for _, found := range r.Sys.Logs() {
		r.Check("log: "+found, false)
	}
	if err == nil {
		err = ended
	}
	return err
}

// judge compares what was found with what the row allows.
func (row Row) judge(res *Result, r *Run, v judge.Verdict, err error) {
	res.Pass = err == nil
	if err != nil {
		res.Error = err.Error()
	}
	res.OK, res.Came, res.Gaps, res.Counts, res.Figures = v.OK, v.Delivered, v.Reasons, map[judge.Count]int{}, r.figures
	for _, c := range judge.Counts() {
		n := v.Counts[c]
		if n == 0 {
			continue
		}
		res.Counts[c] = n
		allowed := row.Allow[c]
		if allowed != Any && n > allowed {
			res.Pass = false
			for _, f := range v.Findings[c] {
				res.Findings = append(res.Findings, string(c)+": "+f)
			}
		}
	}
	for _, f := range r.figures {
		res.Pass = res.Pass && f.Pass
	}
	if v.OK == 0 {
		res.Pass = false
		res.Findings = append(res.Findings, "nothing was answered OK, so nothing is shown")
	}
	res.Figures = append(res.Figures,
		Figure{"no OK for", v.Silence.Seconds(), 0, "s", true}, Figure{"no delivery for", v.Stillness.Seconds(), 0, "s", true},
		Figure{"answered to delivered, p50", v.Delay.Quantile(0.5).Seconds(), 0, "s", true},
		Figure{"… p99", v.Delay.Quantile(0.99).Seconds(), 0, "s", true},
	)
}

// String is the result as lines for people.
func (res Result) String() string {
	var b strings.Builder
	word := "pass"
	if !res.Pass {
		word = "FAIL"
	}
	fmt.Fprintf(&b, "%-4s %-5s %s (%.0f s, seed %d): %d acked, %d delivered", word, res.ID, res.Fault, res.Took, res.Seed, res.OK, res.Came)
	for _, c := range judge.Counts() {
		if n := res.Counts[c]; n > 0 {
			fmt.Fprintf(&b, ", %s %d", c, n)
		}
	}
	for _, f := range res.Figures {
		mark := ""
		if !f.Pass {
			mark = " <- FAIL"
		}
		if f.Bound > 0 {
			fmt.Fprintf(&b, "\n       %s: %.3g %s, bound %.3g%s", f.Name, f.Value, f.Unit, f.Bound, mark)
		} else {
			fmt.Fprintf(&b, "\n       %s: %.3g %s%s", f.Name, f.Value, f.Unit, mark)
		}
	}
	if len(res.Gaps) > 0 {
		fmt.Fprintf(&b, "\n       gaps: %v", res.Gaps)
	}
	if res.Error != "" {
		fmt.Fprintf(&b, "\n       error: %s", res.Error)
	}
	for _, f := range res.Findings {
		fmt.Fprintf(&b, "\n       %s", f)
	}
	return b.String()
}

// Folder returns where a run of a row keeps its things.
func Folder(base, id string, seed uint64) string {
	return filepath.Join(base, fmt.Sprintf("%s-%d", id, seed))
}
