// Package simulate tries the state machines of the product under schedules that a seed chooses. The store is an environment with
// a small model of its own. It stops at each call and at each push. A schedule decides what happens next: an answer, a loss, a
// failover, a second that passes. What came of it is a record, which internal/judge reads. Tests alone import this package.
//
// A schedule is a list of steps. A seed gives always the same one, and a line of text too. Between two steps every goroutine of
// the machine waits, which a bubble of testing/synctest tells. So it hardly matters in which order the scheduler of Go runs them.
package simulate

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Step is one thing that happens. What N means is the step's own.
type Step struct {
	Do string
	N  int
}

// Verb is a kind of step, how likely it is against the others, and how large its N may be.
type Verb struct {
	Do     string
	Weight int
	Most   int
}

// Schedule is what happens to a machine.
type Schedule struct {
	Machine string
	Steps   []Step
}

// Plan is how schedules of a machine are chosen.
type Plan struct {
	Machine string
	// Settings come before everything else, each in half of the schedules.
	Settings []Verb
	// First is how every schedule begins after its settings.
	First []Step
	// Verbs are the steps.
	Verbs []Verb
	// Least and Most are how many steps there are.
	Least, Most int
}

// Make returns the schedule of a seed.
func (p Plan) Make(seed uint64) Schedule {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a schedule is no secret
	s := Schedule{Machine: p.Machine}
	for _, v := range p.Settings {
		if r.IntN(2) == 0 {
			s.Steps = append(s.Steps, Step{v.Do, r.IntN(v.Most + 1)})
		}
	}
	s.Steps = append(s.Steps, p.First...)
	total := 0
	for _, v := range p.Verbs {
		total += v.Weight
	}
	for range p.Least + r.IntN(p.Most-p.Least+1) {
		at := r.IntN(total)
		for _, v := range p.Verbs {
			if at -= v.Weight; at < 0 {
				s.Steps = append(s.Steps, Step{v.Do, r.IntN(v.Most + 1)})
				break
			}
		}
	}
	return s
}

// Setting returns the N of the last step of a name, and whether there is one.
func (s Schedule) Setting(name string) (n int, ok bool) {
	for _, step := range s.Steps {
		if step.Do == name {
			n, ok = step.N, true
		}
	}
	return n, ok
}

// String writes a schedule as one line, which Parse reads.
func (s Schedule) String() string {
	parts := []string{s.Machine}
	for _, step := range s.Steps {
		parts = append(parts, step.String())
	}
	return strings.Join(parts, " | ")
}

// String writes a step.
func (s Step) String() string { return s.Do + " " + strconv.Itoa(s.N) }

// Parse reads what String has written.
func Parse(line string) (Schedule, error) {
	parts := strings.Split(strings.TrimSpace(line), " | ")
	s := Schedule{Machine: parts[0]}
	for _, part := range parts[1:] {
		at := strings.LastIndexByte(part, ' ')
		if at < 0 {
			return s, fmt.Errorf("a step without a number: %q", part)
		}
		n, err := strconv.Atoi(part[at+1:])
		if err != nil {
			return s, fmt.Errorf("a step without a number: %q", part)
		}
		s.Steps = append(s.Steps, Step{part[:at], n})
	}
	return s, nil
}

// Shrink returns a shorter schedule for which fails still says true. It calls fails at most so many times.
func Shrink(s Schedule, tries int, fails func(Schedule) bool) Schedule {
	try := func(steps []Step) bool {
		if tries--; tries < 0 {
			return false
		}
		if shorter := (Schedule{s.Machine, steps}); fails(shorter) {
			s = shorter
			return true
		}
		return false
	}
	// Half of it, then quarters, and in the end single steps.
	for size := len(s.Steps) / 2; size > 0; size /= 2 {
		for from := 0; from < len(s.Steps); {
			rest := append(append([]Step(nil), s.Steps[:from]...), s.Steps[min(from+size, len(s.Steps)):]...)
			if !try(rest) {
				from += size
			}
		}
	}
	for i := range s.Steps {
		for _, n := range []int{0, s.Steps[i].N / 2} {
			if n >= s.Steps[i].N {
				continue
			}
			simpler := append([]Step(nil), s.Steps...)
			simpler[i].N = n
			if try(simpler) {
				break
			}
		}
	}
	return s
}
