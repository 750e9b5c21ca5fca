package redis_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// skew is more than a log is kept by default.
const skew = 11 * time.Minute

// skewed returns stores of three processes on one server. The clock of the first is right, the second's is ahead, and the
// third's is behind.
func skewed(t *testing.T, url string) (right, ahead, behind *redis.Store) {
	t.Helper()
	with := func(by time.Duration) *redis.Store {
		s, err := redis.Open(redis.Config{URL: url, Events: bustest.Events, Now: func() time.Time { return time.Now().Add(by) }}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		t.Cleanup(func() { testkit.Check(t, s.Close()) })
		return s
	}
	return with(0), with(skew), with(-skew)
}

func TestClock_isTheServers(t *testing.T) {
	right, ahead, behind := skewed(t, redistest.Start(t).URL())
	for name, s := range map[string]*redis.Store{"right": right, "ahead": ahead, "behind": behind} {
		if off := time.Since(s.Now()).Abs(); off > time.Minute {
			t.Errorf("a process whose clock is %s is off by %s", name, off)
		}
	}
}

func TestClock_withoutAServerIsThatOfTheProcess(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Kill9()
	if off := time.Since(s.Now()).Abs(); off > time.Minute {
		t.Errorf("it is off by %s", off)
	}
	server.Restart()
	_, ahead, _ := skewed(t, server.URL())
	server.Kill9()
	first := ahead.Now()
	server.Restart()
	testkit.Eventually(t, "the server has been asked again", func() bool { return first.Sub(ahead.Now()) > skew/2 })
}

// history is how a log is kept by default.
var history = bus.Retention{Length: 1000, Age: 10 * time.Minute}

func sent(t *testing.T, s *redis.Store, a bus.Address, n int) (last bus.Receipt) {
	t.Helper()
	p := publication(a)
	p.Retention = history
	for range n {
		var err error
		last, err = s.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
	}
	return last
}

// A process whose clock is wrong takes nothing from the others, whether it publishes or reads, and sees everything itself.
func TestClock_wrongOneLosesNothing(t *testing.T) {
	url := redistest.Start(t).URL()
	right, ahead, behind := skewed(t, url)
	stores := map[string]*redis.Store{"right": right, "ahead": ahead, "behind": behind}
	everybody := func(t *testing.T, a bus.Address, want int) {
		t.Helper()
		for range 2 { // also after the others have read
			for name, s := range stores {
				since, err := s.Since(t.Context(), a, history, bus.Position{}, 1000)
				testkit.Check(t, err)
				latest, err := s.Latest(t.Context(), a, history, 0, 1000)
				testkit.Check(t, err)
				if len(since.Messages) != want || len(latest.Messages) != want {
					t.Errorf("the process whose clock is %s reads %d and %d of %d", name, len(since.Messages), len(latest.Messages), want)
				}
			}
		}
	}
	t.Run("a publisher ahead", func(t *testing.T) {
		a := address(t, "channels/ahead")
		sent(t, right, a, 100)
		sent(t, ahead, a, 28+64)
		everybody(t, a, 192)
	})
	t.Run("publishers behind and ahead by turns", func(t *testing.T) {
		a := address(t, "channels/turns")
		sent(t, behind, a, 1)
		sent(t, right, a, 40)
		sent(t, ahead, a, 40)
		sent(t, behind, a, 60)
		everybody(t, a, 141)
	})
	t.Run("what ends, ends at one moment", func(t *testing.T) {
		a := address(t, "channels/ends")
		r, _ := follow(t, ahead, a)
		for name, s := range stores {
			for _, keep := range []bus.Retention{history, {}} {
				p := publication(a)
				p.Retention, p.TTL = keep, time.Minute
				receipt, err := s.Publish(t.Context(), bustest.Admit(p))
				testkit.Check(t, err)
				m := <-r.messages
				if m.Expired(ahead.Now()) || !m.Published.Equal(receipt.Published) || !m.Expires.Equal(receipt.Published.Add(time.Minute)) {
					t.Errorf("%s: published at %s, ends at %s, receipt %s", name, m.Published, m.Expires, receipt.Published)
				}
			}
		}
		everybody(t, a, 3)
	})
	t.Run("the window of a key", func(t *testing.T) {
		a := address(t, "channels/window")
		p := publication(a)
		p.Retention, p.IdempotencyKey, p.Digest, p.Window = history, "k", "d", time.Minute
		first, err := behind.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
		for name, s := range stores {
			r, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			if !r.Duplicate || r.Position != first.Position || !r.Published.Equal(first.Published) {
				t.Errorf("%s: %+v, first %+v", name, r, first)
			}
		}
	})
	t.Run("an inbox", func(t *testing.T) { skewedInbox(t, stores) })
	t.Run("a place", func(t *testing.T) {
		_, held, err := behind.Claim(t.Context(), "place", "behind", time.Minute)
		testkit.Check(t, err)
		_, taken, err := ahead.Claim(t.Context(), "place", "ahead", time.Minute)
		testkit.Check(t, err)
		if !held || taken {
			t.Errorf("held %t, taken by another %t", held, taken)
		}
	})
	t.Run("members", func(t *testing.T) {
		a := address(t, "channels/members")
		for name, s := range stores {
			testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: name}))
			m := member(name)
			m.Node = name
			testkit.Check(t, s.Join(t.Context(), a, m))
		}
		for _, s := range stores {
			_, err := s.Reap(t.Context(), bus.NodeTTL)
			testkit.Check(t, err)
		}
		page, err := right.Members(t.Context(), a, "", 10)
		testkit.Check(t, err)
		if len(page.Members) != 3 {
			t.Errorf("members are %+v", page.Members)
		}
	})
}

// skewedInbox looks at what waits for an ack: it is due, and ends, when the server says so.
func skewedInbox(t *testing.T, stores map[string]*redis.Store) {
	to := address(t, "users/ada")
	letter := func(id string, timeout time.Duration) bus.Publication {
		p := mail(to, id)
		p.Ack.Timeout, p.Ack.Keep = timeout, 5*time.Minute
		return p
	}
	for name, s := range stores {
		_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(letter("later "+name, time.Minute), letter("now "+name, 0)))
		testkit.Check(t, errors.Join(errs...))
	}
	lent := map[string]bool{}
	for _, s := range stores {
		page, err := s.Pending(t.Context(), to, bus.PendingQuery{Limit: 10})
		testkit.Check(t, err)
		for _, w := range page.Messages {
			due := w.Delivery.Deadline.Sub(w.Delivery.Published)
			if off := time.Since(w.Delivery.Published).Abs(); off > time.Minute || due != 0 && due != time.Minute || w.Delivery.Expires.Sub(w.Delivery.Published) != 5*time.Minute {
				t.Errorf("%s: %+v", w.ID, w.Delivery)
			}
		}
		if len(page.Messages) != 2*len(stores) {
			t.Errorf("%d messages wait", len(page.Messages))
		}
		due, err := s.DueDeliveries(t.Context(), 16*10)
		testkit.Check(t, err)
		verdicts, errs := s.Judge(t.Context(), due)
		testkit.Check(t, errors.Join(errs...))
		for _, v := range verdicts {
			lent[v.ID] = true
			if !strings.HasPrefix(v.ID, "now ") || v.Changed != bus.StateStored {
				t.Errorf("the verdict of %s is %+v", v.ID, v)
			}
		}
	}
	if len(lent) != len(stores) {
		t.Errorf("due are %v", lent)
	}
}

// old puts n entries of an hour ago into a log.
const old = `local t = redis.call('TIME')
for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], i .. '-' .. string.format('%.0f', (t[1] - 3600) * 1000), 'm', ARGV[2]) end
redis.call('HSET', KEYS[2], 'e', 'aged', 'o', ARGV[1])`

// A log of which very much is too old is read at once and emptied in steps: no call does much.
func TestLog_emptiesInSteps(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/aged")
	const n = 100_032 // the next publish but 31 looks at the age
	out, err := server.CLI("eval", old, "2", "tl:{channels/aged}:s", "tl:{channels/aged}:m", strconv.Itoa(n), "x")
	if err != nil || strings.Contains(out, "ERR") {
		t.Fatal(out, err)
	}
	kept := func() int {
		out, err := server.CLI("xlen", "tl:{channels/aged}:s")
		testkit.Check(t, err)
		length, err := strconv.Atoi(strings.TrimSpace(out))
		testkit.Check(t, err)
		return length
	}
	ranges := func() int {
		out, err := server.CLI("info", "commandstats")
		testkit.Check(t, err)
		_, rest, _ := strings.Cut(out, "cmdstat_xrange:calls=")
		calls, _, _ := strings.Cut(rest, ",")
		count, _ := strconv.Atoi(calls)
		return count
	}
	long := bus.Retention{Length: 1_000_000, Age: time.Minute}
	page, err := s.Since(t.Context(), a, long, bus.Position{}, 10)
	if err != nil || len(page.Messages) != 0 || page.Next.Offset != n {
		t.Fatalf("page is %+v, %v", page, err)
	}
	if looks := ranges(); looks > 30 {
		t.Errorf("reading looked %d times", looks)
	}
	if kept() != n {
		t.Errorf("a reader has deleted: %d are left", kept())
	}
	p := publication(a)
	for _, step := range []struct {
		keep     bus.Retention
		each     int // publishes for one look at the age, or at the length
		down, to int
	}{{long, 64, n, n / 2}, {bus.Retention{Length: 10, Age: time.Minute}, 1, n / 2, 10}} { // too old, then too long
		before := kept()
		if before > step.down+2048 {
			t.Fatalf("%d entries are left", before)
		}
		for i := 0; before > step.to && i < 10_000; i++ {
			for range step.each {
				p.Retention = step.keep
				_, err := s.Publish(t.Context(), bustest.Admit(p))
				testkit.Check(t, err)
			}
			after := kept()
			if before-after > 2048 {
				t.Fatalf("one look has removed %d entries", before-after)
			}
			before = after
		}
		if before > step.to {
			t.Fatalf("%d entries are left", before)
		}
	}
	page, err = s.Since(t.Context(), a, long, bus.Position{}, 100)
	if err != nil || len(page.Messages) != 10 {
		t.Errorf("%d messages are read, %v", len(page.Messages), err)
	}
}

// measuring is every place that looks at the clock of the process, and what for.
var measuring = map[string]string{
	"input.go: drop":               "when a kind was logged last",
	"durable.go: strictly":         "how long a publish has been tried",
	"hidden.go: add":               "for how long an address has been held up",
	"hidden.go: look":              "the same",
	"links/feed.go: confirmed":     "since when a subscription is open",
	"links/place.go: begins":       "the same, and since when an address is deaf",
	"links/place.go: later":        "when a pause is over",
	"links/place.go: placeLoop":    "the same",
	"links/subscribe.go: Ready":    "for how long an address is deaf",
	"links/hearing.go: opened":     "when a connection was heard",
	"links/hearing.go: echoed":     "when a probe came back",
	"links/link.go: probeLoop":     "the same",
	"links/link.go: ready":         "the same",
	"links/link.go: run":           "how long a connection has lasted",
	"links/link.go: session":       "when a connection began",
	"pipes/masters.go: forgetIdle": "for how long a pipe was idle",
	"pipes/migrate.go: once":       "how long ago an address was moved",
	"pipes/migrate.go: prune":      "the same",
	"pipes/migrate.go: warn":       "how long ago a warning was written",
	"pipes/pipe.go: enter":         "for how long a batch waits",
	"pipes/pipe.go: use":           "for how long a pipe was idle",
	"pipes/pipe.go: fly":           "the same",
	"pipes/redirect.go: follow":    "how long a slot has been followed",
	"pipes/redirect.go: WorthATry": "the same",
	"resp/conn.go: Read":           "the deadline of a value that has begun",
	"resp/conn.go: Write":          "the deadline of a write",
	"foreign.go: answered":         "how long ago this process logged a foreign key",
	"roster.go: Lose":              "how long ago this process lost a connection: the server subtracts that from its own time",
	"server/sync.go: Of":           "how long ago a server was asked about its disk",
	"store.go: Open":               "the clock that the estimate of the server's time begins with",
}

// What is kept is judged by the time of the server. A new look at the clock of the process has to be thought about here.
func TestStore_looksAtItsOwnClockOnlyToMeasure(t *testing.T) {
	missing := maps.Clone(measuring)
	testkit.Check(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "redistest/") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !looksAtTheClock(f) {
				continue
			}
			place := path + ": " + f.Name.Name
			if measuring[place] == "" {
				t.Errorf("%s looks at the clock of the process; s.Now() is that of the server", place)
			}
			delete(missing, place)
		}
		return nil
	}))
	if len(missing) > 0 {
		t.Errorf("no such places: %v", missing)
	}
}

// looksAtTheClock says whether a function uses the time of the process.
func looksAtTheClock(f *ast.FuncDecl) (looks bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			name, isName := s.X.(*ast.Ident)
			looks = looks || isName && name.Name == "time" && (s.Sel.Name == "Now" || s.Sel.Name == "Since" || s.Sel.Name == "Until")
		}
		return true
	})
	return looks
}
