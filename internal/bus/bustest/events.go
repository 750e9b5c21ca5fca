package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// ledger reads the log of events on from where it was made.
type ledger struct {
	tb    testing.TB
	store bus.Store
	at    bus.Position
}

func newLedger(tb testing.TB, s bus.Store) *ledger {
	tb.Helper()
	tops, errs := s.Tops(tb.Context(), []bus.Address{bus.EventLog})
	testkit.Check(tb, bus.FirstError(errs))
	return &ledger{tb, s, tops[0]}
}

// read returns what has come since and is wanted.
func (l *ledger) read(wanted func(bus.Event) bool) []bus.Event {
	l.tb.Helper()
	var all []bus.Event
	for more := true; more; {
		page, err := l.store.Since(l.tb.Context(), bus.EventLog, Events, l.at, 1000)
		testkit.Check(l.tb, err)
		for _, m := range page.Messages {
			e, err := bus.EventOf(m)
			testkit.Check(l.tb, err)
			if wanted(e) {
				all = append(all, e)
			}
		}
		l.at, more = page.Next, page.More
	}
	return all
}

func testEvents(t *testing.T, open Open) {
	s := open(t)
	node := "node-" + uuid.NewString()
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: node, Roles: []string{"edge"}, Version: "1", Started: time.Now()}))
	t.Run("an event that is repeated is written once", func(t *testing.T) { testEventOnce(t, s) })
	t.Run("the first member occupies and the last one vacates", func(t *testing.T) { testOccupancy(t, s, node) })
	t.Run("of quiet members nobody is told", func(t *testing.T) { testQuietMembers(t, s, node) })
	t.Run("occupied and vacated take turns in a crowd", func(t *testing.T) { testOccupancyTurns(t, s, node) })
	t.Run("who is lost vacates when it was lost", func(t *testing.T) { testVacatedByLoss(t, s, node) })
	t.Run("connections of a dead process end once", func(t *testing.T) { testDeadRun(t, s, node) })
	t.Run("a process that was taken for dead finds out", func(t *testing.T) { testZombie(t, s, node) })
}

func testEventOnce(t *testing.T, s bus.Store) {
	l := newLedger(t, s)
	e := bus.Event{ID: bus.EventID(uuid.NewString()), Kind: bus.EventStored, Millis: 1, Address: "users/1", Message: "m"}
	for _, reason := range []string{"", "another"} {
		e.Reason = reason
		publish(t, s, e.Publication(Events))
	}
	got := l.read(func(x bus.Event) bool { return x.ID == e.ID })
	e.Reason = ""
	if len(got) != 1 || got[0] != e {
		t.Errorf("the log has %+v", got)
	}
}

// of returns what is wanted of an address, as words.
func of(a bus.Address) func(bus.Event) bool {
	return func(e bus.Event) bool { return e.Address == a.String() }
}

func words(events []bus.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprint(e.Kind, " ", e.Reason))
	}
	return fmt.Sprint(all)
}

func testOccupancy(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := newLedger(t, s)
	first := member("1", "ada", node)
	first.Joined = first.Joined.Add(-time.Minute)
	testkit.Check(t, s.Join(t.Context(), a, first))
	testkit.Check(t, s.Join(t.Context(), a, first))
	testkit.Check(t, s.Join(t.Context(), a, member("2", "bob", node)))
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	before := time.Now()
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	testkit.Check(t, s.Join(t.Context(), a, member("3", "bob", node)))
	testkit.Check(t, s.Leave(t.Context(), a, "3"))
	ours := member("4", "ada", node)
	testkit.Check(t, s.Join(t.Context(), bus.PushClients, ours)) // nobody else's business
	testkit.Check(t, s.Leave(t.Context(), bus.PushClients, ours.Connection))
	got := l.read(func(e bus.Event) bool { return of(a)(e) || of(bus.PushClients)(e) })
	if w := words(got); w != "[occupied  vacated left occupied  vacated left]" {
		t.Fatalf("events are %s", w)
	}
	if !got[0].Time().Equal(first.Joined) {
		t.Errorf("occupied at %v, joined at %v", got[0].Time(), first.Joined)
	}
	if d := got[1].Time().Sub(before); d < -2*time.Second || d > 2*time.Second {
		t.Errorf("vacated %v after it happened", d)
	}
}

func testQuietMembers(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := newLedger(t, s)
	quiet := member("1", "ada", node)
	quiet.Quiet = true
	testkit.Check(t, s.Join(t.Context(), a, quiet))
	if page, err := s.Members(t.Context(), a, "", 10); err != nil || page.Total != 1 {
		t.Errorf("members are %+v, %v", page, err)
	}
	testkit.Check(t, s.Leave(t.Context(), a, "1")) // nobody was told that it was there
	testkit.Check(t, s.Join(t.Context(), a, quiet))
	testkit.Check(t, s.Join(t.Context(), a, member("2", "bob", node))) // and who comes then tells
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	testkit.Check(t, s.Join(t.Context(), a, quiet))
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	if w := words(l.read(of(a))); w != "[occupied  vacated left]" {
		t.Errorf("events are %s", w)
	}
}

func testOccupancyTurns(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := newLedger(t, s)
	const rounds = 25
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range rounds {
				m := member(fmt.Sprintf("%d-%d", i, n), fmt.Sprint(i), node)
				if err := s.Join(t.Context(), a, m); err != nil {
					t.Error(err)
				}
				if err := s.Leave(t.Context(), a, m.Connection); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got := l.read(of(a))
	for i, e := range got {
		if want := []bus.EventKind{bus.EventOccupied, bus.EventVacated}[i%2]; e.Kind != want {
			t.Fatalf("event %d of %d is %s: %s", i, len(got), e.Kind, words(got))
		}
	}
	if len(got) < 2 || len(got)%2 != 0 {
		t.Errorf("%d events", len(got))
	}
}

func testVacatedByLoss(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := newLedger(t, s)
	at := time.Now().Add(-100 * time.Millisecond)
	testkit.Check(t, s.Join(t.Context(), a, member("1", "ada", node)))
	testkit.Check(t, s.Lose(t.Context(), a, "1", at, 300*time.Millisecond))
	if got := words(l.read(of(a))); got != "[occupied ]" {
		t.Errorf("events are %s", got)
	}
	reap(t, s, node, bus.NodeTTL, func() bool { return members(t, s, a) == "" })
	var got []bus.Event
	testkit.Eventually(t, "it is told", func() bool { got = append(got, l.read(of(a))...); return len(got) > 0 })
	if words(got) != "[vacated lost]" {
		t.Fatalf("events are %s", words(got))
	}
	if d := got[0].Time().Sub(at); d < -50*time.Millisecond || d > 200*time.Millisecond {
		t.Errorf("vacated %v after the loss", d)
	}
}

// opened remembers n connections of a run and returns what is wanted of them.
func opened(t *testing.T, s bus.Store, run, node string, n int) func(bus.Event) bool {
	t.Helper()
	var list []bus.Connection
	ids := make(map[string]bool)
	for i := range n {
		c := bus.Connection{
			ID: uuid.NewString(), Client: fmt.Sprint("client", i), User: "u", Session: "s", Node: node, Millis: time.Now().UnixMilli(),
		}
		list = append(list, c)
		ids[c.ID] = true
	}
	testkit.Check(t, s.Opened(t.Context(), run, list))
	return func(e bus.Event) bool { return ids[e.Connection] }
}

func testDeadRun(t *testing.T, s bus.Store, node string) {
	const n = 450 // more than one look tells of
	l := newLedger(t, s)
	a := address(t)
	died := "node-" + uuid.NewString()
	dead, alive := bus.LifeName(died, "1"), bus.LifeName(node, "1")
	next := bus.LifeName(died, "2") // which starts at once
	wanted := opened(t, s, dead, died, n)
	others := opened(t, s, alive, node, 1)
	closed := bus.Connection{ID: uuid.NewString(), Client: "closed", Node: died}
	testkit.Check(t, s.Opened(t.Context(), dead, []bus.Connection{closed}))
	testkit.Check(t, s.Ended(t.Context(), dead, []string{closed.ID, "unknown"}))
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: dead}))
	testkit.Check(t, s.Join(t.Context(), a, member("x", "ada", dead)))
	known, err := s.Alive(t.Context(), dead)
	testkit.Check(t, err)
	heard := time.Now()
	if known != n {
		t.Errorf("%d are remembered", known)
	}
	const silent = 1500 * time.Millisecond
	counts := make(map[string]int)
	var vacated []bus.Event
	reap(t, s, node, silent, func() bool {
		for _, run := range []string{alive, next} {
			testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: run}))
			_, err := s.Alive(t.Context(), run)
			testkit.Check(t, err)
		}
		for _, e := range l.read(func(e bus.Event) bool { return wanted(e) || others(e) || e.Connection == closed.ID || of(a)(e) }) {
			if e.Address != "" {
				vacated = append(vacated, e)
				continue
			}
			counts[e.Connection]++
			if !wanted(e) || e.Kind != bus.EventDisconnected || e.Reason != bus.LeftNode || e.Client == "" || e.User != "u" || e.Session != "s" || e.Node != died {
				t.Fatalf("event is %+v", e)
			}
			if d := e.Time().Sub(heard); d < -500*time.Millisecond || d > 100*time.Millisecond {
				t.Errorf("it ended %v after the process was heard of", d)
			}
		}
		return len(counts) == n && len(vacated) == 2
	})
	if d := time.Since(heard); d < silent {
		t.Errorf("they were told after %v", d)
	}
	if words(vacated) != "[occupied  vacated node_lost]" {
		t.Errorf("events are %s", words(vacated))
	}
	for id, times := range counts {
		if times != 1 {
			t.Errorf("%s ended %d times", id, times)
		}
	}
}

func testZombie(t *testing.T, s bus.Store, node string) {
	l := newLedger(t, s)
	run := node + "~zombie"
	wanted := opened(t, s, run, node, 3)
	told := 0
	reap(t, s, node, 200*time.Millisecond, func() bool { told += len(l.read(wanted)); return told == 3 })
	known, err := s.Alive(t.Context(), run)
	testkit.Check(t, err)
	if known != 0 {
		t.Errorf("%d are remembered", known)
	}
	c := bus.Connection{ID: uuid.NewString(), Node: node, Turn: 1}
	if c.Connected().ID == (bus.Connection{ID: c.ID}).Connected().ID || c.Connected().ID == c.Disconnected(time.Now(), "").ID {
		t.Error("events share an id")
	}
	testkit.Check(t, s.Opened(t.Context(), run, []bus.Connection{c}))
	known, err = s.Alive(t.Context(), run)
	testkit.Check(t, err)
	if known != 1 {
		t.Errorf("%d are remembered", known)
	}
	testkit.Check(t, s.Ended(t.Context(), run, []string{c.ID}))
}

func testCursors(t *testing.T, open Open) {
	s := open(t)
	name := "test:" + uuid.NewString()
	claim := func(owner string, ttl time.Duration) (bus.Position, bool) {
		t.Helper()
		at, held, err := s.Claim(t.Context(), name, owner, ttl)
		testkit.Check(t, err)
		return at, held
	}
	if at, held := claim("a", time.Minute); !held || !at.IsZero() {
		t.Fatalf("first claim: %v at %v", held, at)
	}
	if at, held := claim("b", time.Minute); held || !at.IsZero() {
		t.Errorf("it was lent twice, at %v", at)
	}
	there := bus.Position{Epoch: "e", Offset: 7}
	for owner, want := range map[string]bool{"a": true, "b": false} {
		held, err := s.Advance(t.Context(), name, owner, there, time.Minute)
		testkit.Check(t, err)
		if held != want {
			t.Errorf("%s advanced: %v", owner, held)
		}
	}
	if at, held := claim("a", time.Minute); !held || at != there {
		t.Errorf("claimed again: %v at %v", held, at)
	}
	testkit.Check(t, s.Release(t.Context(), name, "b"))
	if _, held := claim("b", time.Minute); held {
		t.Error("another one released it")
	}
	testkit.Check(t, s.Release(t.Context(), name, "a"))
	if at, held := claim("b", 50*time.Millisecond); !held || at != there {
		t.Errorf("claimed after the release: %v at %v", held, at)
	}
	testkit.Eventually(t, "the claim ends by itself", func() bool { _, held := claim("c", time.Minute); return held })
	if held, err := s.Advance(t.Context(), name, "b", bus.Position{Epoch: "x", Offset: 9}, time.Minute); held || err != nil {
		t.Errorf("an old holder advanced: %v, %v", held, err)
	}
	if at, _ := claim("c", time.Minute); at != there {
		t.Errorf("it is at %v", at)
	}
	testClaimRace(t, s)
}

// Of many who claim at once, one gets it.
func testClaimRace(t *testing.T, s bus.Store) {
	name := "race:" + uuid.NewString()
	won := make(chan string, 16)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			owner := fmt.Sprint(i)
			if _, held, err := s.Claim(context.WithoutCancel(t.Context()), name, owner, time.Minute); err != nil {
				t.Error(err)
			} else if held {
				won <- owner
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Errorf("%d hold it", len(won))
	}
}
