package simulate_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/simulate"
)

// machine is one machine of the product over the simulated store.
type machine interface {
	// run runs what has to run until ctx ends.
	run(ctx context.Context) error
	// step does a step that the store does not know.
	step(s simulate.Step)
	// settle is called when no fault is left: it waits, and finds what is still wrong.
	settle()
}

// kind is a kind of machine.
type kind struct {
	plan simulate.Plan
	// rest is how long it takes until nothing happens any more by itself; a minute by default.
	rest time.Duration
	// rounds is set when quiet addresses are compared with their logs all the time.
	rounds bool
	make   func(tb testing.TB, w *world) machine
}

// world is what a machine is in.
type world struct {
	tb        testing.TB
	schedule  simulate.Schedule
	store     *simulate.Store
	ledger    *simulate.Ledger
	addresses []bus.Address
	machine   machine
	kind      kind
	queued    bool   // pushes wait for the schedule
	story     *story // nil unless it is told
}

// story is what happens, line by line.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *story) tell(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (w *world) address(n int) bus.Address { return w.addresses[n%len(w.addresses)] }

// name is the name of an address.
func name(tb testing.TB, text string) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress(text)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// environment is the steps that the store and its connections do.
var environment = []simulate.Verb{
	{Do: "publish", Weight: 16, Most: 11},
	{Do: "pass", Weight: 12, Most: 11},
	{Do: "answer", Weight: 12, Most: 3},
	{Do: "carry", Weight: 5, Most: 3},
	{Do: "refuse", Weight: 5, Most: 3},
	{Do: "hold", Weight: 5, Most: 0},
	{Do: "flow", Weight: 3, Most: 0},
	{Do: "queue", Weight: 2, Most: 0},
	{Do: "drain", Weight: 2, Most: 0},
	{Do: "break", Weight: 4, Most: 3},
	{Do: "connect", Weight: 5, Most: 0},
	{Do: "flush", Weight: 2, Most: 0},
	{Do: "failover", Weight: 2, Most: 3},
	{Do: "delete", Weight: 1, Most: 3},
	{Do: "time", Weight: 5, Most: 7},
}

// times are how long the step of that name takes.
var times = []time.Duration{
	time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 20 * time.Second,
}

// do does a step.
func (w *world) do(s simulate.Step) {
	switch s.Do {
	case "publish":
		for range 1 + s.N/4 {
			w.ledger.Publish(w.address(s.N))
		}
	case "pass":
		w.store.Pass(s.N, 1+s.N/4)
	case "answer":
		w.store.Answer(s.N)
	case "carry":
		w.store.Carry(s.N)
	case "refuse":
		w.store.Refuse(s.N)
	case "hold", "flow":
		w.store.Hold(s.Do == "hold")
	case "queue", "drain":
		w.queued = s.Do == "queue"
	case "break":
		w.store.Break(s.N)
	case "connect":
		w.store.Connect()
	case "flush":
		w.store.Flush()
	case "failover":
		w.store.Failover(s.N, false)
	case "back":
		w.store.Failover(1+s.N, true)
	case "delete":
		w.store.Delete(w.address(s.N))
	case "time":
		time.Sleep(times[s.N%len(times)])
	default:
		w.machine.step(s)
	}
	w.quiet()
}

// quiet waits until every goroutine waits, and hands on what need not wait for the schedule.
func (w *world) quiet() {
	synctest.Wait()
	for !w.queued && w.store.PassAll() {
		synctest.Wait()
	}
}

// play runs a schedule in a bubble, and returns what is wrong.
func (w *world) play(k kind) []string {
	length, short := w.schedule.Setting("length")
	cfg := simulate.Config{Calls: 200 + 20*len(w.schedule.Steps)}
	if short {
		cfg.Length = 3 + length
	}
	if w.story != nil {
		cfg.Story = w.story.tell
	}
	w.store = simulate.New(cfg)
	w.ledger = simulate.NewLedger(w.store)
	w.machine = k.make(w.tb, w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- w.machine.run(ctx) }()
	w.quiet()
	for _, s := range w.schedule.Steps {
		w.note("— %s", s)
		w.do(s)
	}
	w.note("— no fault is left")
	w.store.Hold(false)
	w.store.Connect()
	w.queued = false
	w.rest(w.pause())
	w.machine.settle()
	if w.store.Endless() {
		reads, tops := w.store.Made()
		w.ledger.Wrong("endless: %d reads and %d questions", reads, tops)
	}
	cancel()
	if err := <-ended; err != nil {
		w.ledger.Wrong("it ended with %v", err)
	}
	return w.ledger.Verdict()
}

func (w *world) pause() time.Duration { return cmp.Or(w.kind.rest, time.Minute) }

// note tells the story something that is no event.
func (w *world) note(format string, args ...any) {
	if w.story != nil {
		w.story.tell(fmt.Sprintf(format, args...))
	}
}

// restless finds machines that ask the store for no reason.
func (w *world) restless() {
	reads, tops := w.store.Made()
	rest := 20 * w.pause()
	if w.kind.rounds {
		rest = 2 * w.pause()
	}
	w.rest(rest)
	more, asked := w.store.Made()
	if more -= reads; more > 0 {
		w.ledger.Wrong("restless: %d reads in %s in which nothing happened", more, rest)
	}
	if asked -= tops; asked > 0 && !w.kind.rounds {
		w.ledger.Wrong("restless: %d questions in %s in which nothing happened", asked, rest)
	}
}

// rest lets time pass.
func (w *world) rest(d time.Duration) {
	for range 4 {
		w.quiet()
		time.Sleep(d / 4)
	}
	w.quiet()
}

// run plays a schedule in a bubble of its own. With story it says all that happens.
func run(t *testing.T, k kind, s simulate.Schedule, tells bool) (wrong, told []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{tb: t, kind: k, schedule: s, queued: true, addresses: []bus.Address{name(t, "channels/kept:a"), name(t, "channels/kept:b"), name(t, "channels/kept:d")}}
		n, _ := s.Setting("addresses")
		w.addresses = w.addresses[:1+n]
		w.story = &story{}
		if !tells {
			w.story = nil
		}
		wrong = w.play(k)
		if tells {
			told = w.story.told()
		}
	})
	return wrong, told
}

// report shrinks a schedule that has failed, and tells its story.
func report(t *testing.T, k kind, seed uint64, s simulate.Schedule, wrong []string) {
	t.Helper()
	sort := func(wrong []string) string { word, _, _ := strings.Cut(wrong[0], " "); return word }
	tries := 0
	s = simulate.Shrink(s, 2000, func(s simulate.Schedule) bool {
		tries++
		again, _ := run(t, k, s, false)
		return len(again) > 0 && sort(again) == sort(wrong)
	})
	again, story := run(t, k, s, true)
	if len(again) == 0 {
		again = append(slices.Clip(wrong), fmt.Sprintf("(a second run of the schedule holds; it was run %d times)", tries))
	}
	t.Errorf("%s, seed %d: %s\nthe story:\n  %s\nthe row for testdata/kept.txt:\n%s", k.plan.Machine, seed,
		strings.Join(again, "\n  "), strings.Join(story, "\n  "), s)
}
