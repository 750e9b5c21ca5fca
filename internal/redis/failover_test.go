package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/testkit"
)

// follower keeps what a tail brings.
type follower struct {
	mu       sync.Mutex
	messages []*bus.Message
	gaps     []bus.Gap
	between  []int // how many messages came before each gap
	arrived  atomic.Int64
}

func (f *follower) Deliver(m *bus.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages = append(f.messages, m)
	f.arrived.Store(int64(len(f.messages)))
}

func (f *follower) Gap(g bus.Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaps = append(f.gaps, g)
	f.between = append(f.between, len(f.messages))
}

var long = bus.Retention{Length: 1_000_000, Age: time.Hour}

// trail follows an address with a tail until the test ends.
func trail(tb testing.TB, s *redis.Store, a bus.Address) *follower {
	tb.Helper()
	f := &follower{}
	tl := tail.New(s, f, tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: long}}})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = tl.Run(ctx) })
	tb.Cleanup(func() { cancel(); done.Wait() })
	call, stop := context.WithTimeout(tb.Context(), 10*time.Second)
	defer stop()
	_, err := tl.Acquire(call, a)
	testkit.Check(tb, err)
	return f
}

// numbered publishes n messages.
func numbered(tb testing.TB, s *redis.Store, a bus.Address, n int) bus.Position {
	tb.Helper()
	var last bus.Position
	for range n {
		p := publication(a)
		p.Retention = long
		r, err := s.Publish(tb.Context(), bustest.Admit(p))
		testkit.Check(tb, err)
		last = r.Position
	}
	return last
}

// An acknowledged tail is lost. Followers that saw it hear of it, although its offsets are used again. Followers that did not
// see it go on without a gap.
func TestFailover_thatLosesATailIsAGap(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL())
	a := address(t, "channels/lost")
	f := trail(t, s, a)
	kept := numbered(t, s, a, 10)
	testkit.Eventually(t, "the replica has them", func() bool {
		p := replicated(a, "mark", 1) // the eleventh
		p.Retention = long
		r, err := s.Publish(t.Context(), bustest.Admit(p))
		kept = r.Position
		return err == nil
	})
	sentinel.Cut()
	lost := numbered(t, s, a, 10)
	testkit.Eventually(t, "the follower has seen the tail", func() bool { return f.arrived.Load() == 21 })
	sentinel.Master.Kill9()

	var next bus.Position
	testkit.Eventually(t, "publishing works again", func() bool {
		p := publication(a)
		p.Retention = long
		r, err := s.Publish(t.Context(), bustest.Admit(p))
		next = r.Position
		return err == nil
	})
	if next.Offset > lost.Offset {
		t.Fatalf("the tail was not lost: %+v", next)
	}
	top := numbered(t, s, a, 30) // beyond what was lost
	if next.Epoch == kept.Epoch || next.Offset != kept.Offset+1 || top.Epoch != next.Epoch {
		t.Errorf("the log went on at %+v after %+v, to %+v", next, kept, top)
	}
	follows := int64(21 + top.Offset - kept.Offset)
	testkit.Eventually(t, "the follower has what followed", func() bool { return f.arrived.Load() == follows })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gaps) == 0 || f.between[0] != 21 || f.gaps[0].From != lost || f.gaps[0].Reason != bus.GapStoreReset {
		t.Fatalf("gaps are %+v after %v messages", f.gaps, f.between)
	}
	for i, m := range f.messages[21:] {
		if want := (bus.Position{Epoch: next.Epoch, Offset: next.Offset + uint64(i)}); m.Position != want {
			t.Fatalf("message at %+v, want %+v", m.Position, want)
		}
	}
	for _, c := range []struct {
		after         bus.Position
		first         uint64
		gap, unproved bool
	}{
		{kept, kept.Offset + 1, true, true}, // it has everything that is known of
		{bus.Position{Epoch: kept.Epoch, Offset: 3}, 4, false, false},
		{bus.Position{Epoch: kept.Epoch, Offset: kept.Offset + 1}, kept.Offset + 1, true, false},
		{lost, kept.Offset + 1, true, false},
		{bus.Position{Epoch: next.Epoch, Offset: lost.Offset}, lost.Offset + 1, false, false},
		{bus.Position{Epoch: "other", Offset: 1}, 1, true, false},
	} {
		page, err := s.Since(t.Context(), a, long, c.after, 100)
		if errors.Is(err, bus.ErrGap) != c.gap || page.Unproved != c.unproved || len(page.Messages) == 0 || page.Messages[0].Position.Offset != c.first {
			t.Errorf("after %+v: %v, page from %+v", c.after, err, page.Messages)
		}
	}
	tl := tail.New(s, f, tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: long}}})
	var gaps []bus.Gap
	_, err := tl.Replay(t.Context(), a, lost, func(g bus.Gap) { gaps = append(gaps, g) }, func(*bus.Message) error { return nil })
	if err != nil || len(gaps) != 1 || gaps[0].Reason != bus.GapStoreReset || gaps[0].To != (bus.Position{Epoch: next.Epoch, Offset: kept.Offset}) {
		t.Errorf("who resumes beyond the fork is told %+v, %v", gaps, err)
	}
}

// A server that comes back from its files is no fork that anybody notices, when the files have everything.
func TestRestart_withoutLossIsNoGap(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	a := address(t, "channels/restart")
	f := trail(t, s, a)
	for round := range 20 { // more lives than epochs are remembered
		numbered(t, s, a, 2)
		if round%5 == 0 {
			testkit.Eventually(t, "the follower has them", func() bool { return f.arrived.Load() == int64(2*(round+1)) })
		}
		server.Kill9()
		server.Restart()
		testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	}
	numbered(t, s, a, 1)
	testkit.Eventually(t, "the follower has everything", func() bool { return f.arrived.Load() == 41 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gaps) != 0 {
		t.Errorf("gaps are %+v", f.gaps)
	}
}

// A file may have been cut, or an older one may have been put back. Redis does not say so, but a process that has confirmed more
// than is there knows. Going on in the same epoch would use offsets twice.
func TestRestart_withAFileThatWasCutIsAFork(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	a := address(t, "channels/cut")
	f := trail(t, s, a)
	before := numbered(t, s, a, 10)
	testkit.Eventually(t, "the follower has them", func() bool { return f.arrived.Load() == 10 })
	server.Kill9()
	server.CutFile(1 << 10)
	server.Restart()
	testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	after := numbered(t, s, a, 1)
	if after.Epoch == before.Epoch || after.Offset > before.Offset {
		t.Errorf("after %+v the log goes on at %+v", before, after)
	}
	testkit.Eventually(t, "the follower has what followed", func() bool { return f.arrived.Load() == 11 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gaps) == 0 {
		t.Error("no gap was told")
	}
}

// A message has one position, whoever asks: its publisher, who gets it live, who reads it after a fork, and who repeats it.
func TestFork_leavesPositionsAsTheyWere(t *testing.T) {
	// A process that is killed loses nothing with it, but nobody can prove that the machine did not lose power.
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	s := open(t, server.URL())
	a := address(t, "channels/fork")
	p := publication(a)
	p.Retention = bus.Retention{Length: 100, Age: time.Hour}
	p.IdempotencyKey, p.Digest, p.Window = "key", "d", time.Hour
	keyed, err := s.Publish(t.Context(), bustest.Admit(p))
	testkit.Check(t, err)
	p.IdempotencyKey = ""
	receipts := []bus.Receipt{keyed}
	const rounds, each = 4, 3
	for range rounds {
		for range each {
			r, _ := follow(t, s, a)
			receipt, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			if live := <-r.messages; live.Position != receipt.Position {
				t.Fatalf("the receipt says %+v, the live message %+v", receipt.Position, live.Position)
			}
			receipts = append(receipts, receipt)
		}
		server.Kill9()
		server.Restart()
		testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	}
	p.IdempotencyKey = "key"
	again, err := s.Publish(t.Context(), bustest.Admit(p))
	if err != nil || !again.Duplicate || again.Position != keyed.Position || again.ID != keyed.ID {
		t.Errorf("again %+v, %v, first %+v", again, err, keyed)
	}
	since, err := s.Since(t.Context(), a, p.Retention, bus.Position{}, 100)
	testkit.Check(t, err)
	latest, err := s.Latest(t.Context(), a, p.Retention, 0, 100)
	testkit.Check(t, err)
	slices.Reverse(latest.Messages)
	epochs := map[string]bool{}
	for i, r := range receipts {
		epochs[r.Position.Epoch] = true
		if since.Messages[i].Position != r.Position || latest.Messages[i].Position != r.Position {
			t.Errorf("the receipt says %+v, the log %+v and %+v", r.Position, since.Messages[i].Position, latest.Messages[i].Position)
		}
		page, err := s.Since(t.Context(), a, p.Retention, r.Position, 2)
		fork := len(receipts) > i+1 && receipts[i+1].Position.Epoch != r.Position.Epoch
		if errors.Is(err, bus.ErrGap) != fork || page.Unproved != fork || len(receipts) > i+1 && page.Messages[0].Position != receipts[i+1].Position {
			t.Errorf("after %+v: %+v, %v", r.Position, page, err)
		}
		before, err := s.Latest(t.Context(), a, p.Retention, r.Position.Offset, 1)
		if err != nil || i > 0 && before.Messages[0].Position != receipts[i-1].Position {
			t.Errorf("before %+v: %+v, %v", r.Position, before, err)
		}
	}
	if len(epochs) != rounds {
		t.Errorf("there were %d epochs", len(epochs))
	}
}

// What is followed or read is in use: its positions stay good though nothing is published.
func TestEpoch_livesAsLongAsItIsUsed(t *testing.T) {
	server := redistest.Start(t)
	life := 2 * time.Second
	s, err := redis.Open(redis.Config{URL: server.URL(), MetaTTL: life}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	for name, use := range map[string]func(a bus.Address) (bus.Position, error){
		"followed": func(a bus.Address) (bus.Position, error) {
			tops, errs := s.Tops(t.Context(), []bus.Address{a})
			return tops[0], bus.FirstError(errs)
		},
		"read": func(a bus.Address) (bus.Position, error) {
			page, err := s.Since(t.Context(), a, bus.Retention{Length: 10, Age: time.Second}, bus.Position{}, 10)
			return page.Top, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := address(t, "channels/"+name)
			p := publication(a)
			p.Retention = bus.Retention{Length: 10, Age: time.Second}
			receipt, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			first := receipt.Position
			tick := time.NewTicker(life / 10)
			defer tick.Stop()
			for until := time.Now().Add(2 * life); time.Now().Before(until); <-tick.C {
				at, err := use(a)
				if err != nil || at != first {
					t.Fatalf("it was at %+v and is at %+v, %v", first, at, err)
				}
			}
		})
	}
}

// While somebody follows anything, publishing does not ask the server about itself.
func TestPublish_asksNoINFO(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/info")
	follow(t, s, address(t, "channels/other"))
	calls := func(command string) int {
		out, err := server.CLI("info", "commandstats")
		testkit.Check(t, err)
		_, rest, _ := strings.Cut(out, "cmdstat_"+command+":calls=")
		count, _, _ := strings.Cut(rest, ",")
		n, _ := strconv.Atoi(count)
		return n
	}
	quiet := func() bool { // the next publish asks nothing
		_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
		testkit.Check(t, err)
		before := calls("info")
		for range 20 {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
			testkit.Check(t, err)
		}
		return calls("info")-before < 10 // this test asks too, and each connection once a second
	}
	testkit.Eventually(t, "the life of the server is known by its subscribers", quiet)
}
