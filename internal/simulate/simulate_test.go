package simulate_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/simulate"
)

var (
	seconds = flag.Int("simulate.seconds", 4, "for how many seconds each machine is tried")
	only    = flag.String("simulate.machine", "", "the one machine that is tried")
	first   = flag.Uint64("simulate.seed", 0, "the first seed; 0 for one of the day")
	told    = flag.Bool("simulate.story", false, "tell the story of the first seed, and end")
)

// kinds are all machines.
var kinds = []kind{tails, streams, connections, sessions, revocations}

// Whatever order things happen in: nothing is lost without a word, nothing comes twice or out of order, and in the end there is rest.
func TestSimulate(t *testing.T) {
	for _, k := range kinds {
		if *only != "" && *only != k.plan.Machine {
			continue
		}
		t.Run(k.plan.Machine, func(t *testing.T) {
			t.Parallel()
			seed := *first
			if seed == 0 {
				seed = uint64(time.Now().UnixNano()) / 1000
			}
			if *told {
				s := k.plan.Make(seed)
				wrong, story := run(t, k, s, true)
				t.Logf("%s\n  %s\n%v", s, strings.Join(story, "\n  "), wrong)
				return
			}
			begin, n := time.Now(), uint64(0)
			for ; time.Since(begin) < time.Duration(*seconds)*time.Second; n++ {
				s := k.plan.Make(seed + n)
				if wrong, _ := run(t, k, s, false); len(wrong) > 0 {
					report(t, k, seed+n, s, wrong)
					break
				}
			}
			t.Logf("%s: %d schedules, seeds %d to %d, %.0f a second", k.plan.Machine, n, seed, seed+n, float64(n)/time.Since(begin).Seconds())
		})
	}
}

// Schedules that once found something are run again for ever.
func TestKept(t *testing.T) {
	text, err := os.ReadFile("testdata/kept.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := simulate.Parse(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, k := range kinds {
			if k.plan.Machine != s.Machine {
				continue
			}
			if wrong, story := run(t, k, s, true); len(wrong) > 0 {
				t.Errorf("%s\n  %s\nthe story:\n  %s", s, strings.Join(wrong, "\n  "), strings.Join(story, "\n  "))
			}
		}
	}
}
