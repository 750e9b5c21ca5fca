package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/testkit"
)

func quietOnes(tb testing.TB, kind string, n int) []bus.Address {
	tb.Helper()
	all := make([]bus.Address, n)
	for i := range all {
		all[i] = address(tb, fmt.Sprintf("%s/quiet:%d", kind, i))
	}
	return all
}

func keysIn(tb testing.TB, servers ...*redistest.Server) int {
	tb.Helper()
	sum := 0
	for _, s := range servers {
		out, err := s.CLI("dbsize")
		testkit.Check(tb, err)
		n, err := strconv.Atoi(strings.TrimSpace(out))
		testkit.Check(tb, err)
		sum += n
	}
	return sum
}

// calls returns how often a server has run a command.
func calls(tb testing.TB, s *redistest.Server, command string) int {
	tb.Helper()
	out, err := s.CLI("info", "commandstats")
	testkit.Check(tb, err)
	_, rest, _ := strings.Cut(out, "cmdstat_"+command+":calls=")
	text, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(text)
	return n
}

// Following a name that nothing was published to costs Redis a subscription and no key; what comes first is not missed.
func TestTops_ofNewNamesWriteNothing(t *testing.T) {
	t.Run("on one server", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, server.URL())
		ask := func() []bus.Position {
			tops, errs := s.Tops(t.Context(), append(quietOnes(t, "channels", 700), quietOnes(t, "users", 700)...))
			testkit.Check(t, bus.FirstError(errs))
			return tops
		}
		first := ask()
		if n := keysIn(t, server); n != 1 {
			t.Errorf("%d keys", n)
		}
		for i, top := range ask() {
			if !top.IsStart() || top.Epoch == "" || top != first[i] {
				t.Fatalf("tops are %+v and %+v", first[i], top)
			}
		}
		scripts := calls(t, server, "evalsha")
		ask()
		// Three ask for the addresses, and one for the beginning that they share.
		if n := calls(t, server, "evalsha") - scripts; n != 3+1 {
			t.Errorf("1400 addresses took %d scripts", n)
		}
	})
	t.Run("in a Cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		s := open(t, c.URL())
		all := quietOnes(t, "channels", 300)
		first, errs := s.Tops(t.Context(), all)
		testkit.Check(t, bus.FirstError(errs))
		n := keysIn(t, c.Servers...)
		if n > len(all) {
			t.Errorf("%d keys", n)
		}
		numbered(t, s, all[0], 1)
		page, err := s.Since(t.Context(), all[0], long, first[0], 10)
		testkit.Check(t, err)
		if len(page.Messages) != 1 {
			t.Errorf("page is %+v", page)
		}
		again, errs := s.Tops(t.Context(), all[1:])
		testkit.Check(t, bus.FirstError(errs))
		for i := range again {
			if again[i] != first[i+1] {
				t.Fatalf("tops are %+v and %+v", first[i+1], again[i])
			}
		}
	})
}

// A follower from before the first message is told when the data was lost meanwhile, and only then.
func TestSince_aStartOfDataThatWasLostIsAGap(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	for _, c := range []struct {
		kind string
		keep bus.Retention
		send func(bus.Address)
	}{
		{"channels", long, func(a bus.Address) { numbered(t, s, a, 2) }},
		{"users", bus.Retention{Length: 100, Age: time.Hour, Inbox: true}, func(a bus.Address) { mailed(t, s, a, 1, 2) }},
	} {
		t.Run(c.kind, func(t *testing.T) {
			a, quiet := address(t, c.kind+"/a"), address(t, c.kind+"/quiet")
			read := func(a bus.Address, at bus.Position) (int, error) {
				page, err := s.Since(t.Context(), a, c.keep, at, 10)
				return len(page.Messages), err
			}
			tops, errs := s.Tops(t.Context(), []bus.Address{a, quiet})
			testkit.Check(t, bus.FirstError(errs))
			c.send(a)
			if n, err := read(a, tops[0]); n != 2 || err != nil {
				t.Errorf("%d messages, %v", n, err)
			}
			if n, err := read(quiet, tops[1]); n != 0 || err != nil {
				t.Errorf("where nothing was published: %d messages, %v", n, err)
			}
			out, err := server.CLI("flushall")
			testkit.Check(t, err)
			if !strings.Contains(out, "OK") {
				t.Fatal(out)
			}
			if _, err := read(quiet, tops[1]); !errors.Is(err, bus.ErrGap) {
				t.Errorf("after the loss, where nothing was published: %v", err)
			}
			c.send(a)
			if n, err := read(a, tops[0]); n != 2 || !errors.Is(err, bus.ErrGap) {
				t.Errorf("after the loss: %d messages, %v", n, err)
			}
		})
	}
}

// One address that cannot be read fails alone.
func TestTops_failOneByOne(t *testing.T) {
	t.Run("a key of a wrong type", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, server.URL())
		all := quietOnes(t, "channels", 20)
		numbered(t, s, all[3], 3)
		_, err := server.CLI("set", "tl:{"+all[7].String()+"}:m", "x")
		testkit.Check(t, err)
		tops, errs := s.Tops(t.Context(), all)
		for i := range all {
			if failed := errs != nil && errs[i] != nil; failed != (i == 7) {
				t.Errorf("address %d: %v", i, errs[i])
			}
		}
		if tops[3].Offset != 3 {
			t.Errorf("top is %+v", tops[3])
		}
	})
	t.Run("a master that is away", func(t *testing.T) {
		c := redistest.StartCluster(t)
		for _, server := range c.Servers {
			_, err := server.CLI("config", "set", "cluster-require-full-coverage", "no")
			testkit.Check(t, err)
		}
		s := open(t, c.URL())
		all := homes(t, c, func(a bus.Address) { numbered(t, s, a, 1) })
		c.Servers[1].Kill9()
		tops, errs := s.Tops(t.Context(), all)
		if errs == nil {
			t.Fatal("all of them were read")
		}
		for i := range all {
			if away := i == 1; (errs[i] != nil) != away || !away && tops[i].Offset != 1 {
				t.Errorf("master %d: %+v, %v", i, tops[i], errs[i])
			}
		}
	})
}

// What somebody follows is not forgotten for lack of publishes, so nobody is told a gap where nothing was lost.
func TestTops_keepWhatIsFollowedFromBeingForgotten(t *testing.T) {
	server := redistest.Start(t)
	s, err := redis.Open(redis.Config{URL: server.URL(), MetaTTL: 3 * time.Second}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	a, user := address(t, "channels/kept:rare"), address(t, "users/rare")
	numbered(t, s, a, 2)
	mailed(t, s, user, 1, 1)
	for _, to := range []bus.Address{a, user} {
		before, errs := s.Tops(t.Context(), []bus.Address{to})
		testkit.Check(t, bus.FirstError(errs))
		name := "tl:{" + to.String() + "}:m"
		_, err := server.CLI("pexpire", name, "1000") // two thirds of its life are over
		testkit.Check(t, err)
		tops, errs := s.Tops(t.Context(), []bus.Address{to})
		testkit.Check(t, bus.FirstError(errs))
		out, err := server.CLI("pttl", name)
		testkit.Check(t, err)
		if left, err := strconv.Atoi(strings.TrimSpace(out)); err != nil || left < 2000 || tops[0] != before[0] {
			t.Errorf("%s ends in %s ms, top is %+v", to, out, tops[0])
		}
	}
}

// A position of an epoch before the fork recovers while all that came after it is there.
func TestTail_recoversOverARestart(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	a := address(t, "channels/kept:recovers")
	old := numbered(t, s, a, 5)
	server.Kill9()
	server.Restart()
	testkit.Eventually(t, "Redis is back", func() bool {
		p := publication(a)
		p.Retention = long
		call, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := s.Publish(call, bustest.Admit(p))
		return err == nil
	})
	tl := tail.New(s, &follower{}, tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: long}}})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = tl.Run(ctx) })
	defer func() { cancel(); done.Wait() }()
	at, err := tl.Acquire(ctx, a)
	testkit.Check(t, err)
	forked := at[0].Epoch != old.Epoch
	for _, c := range []struct {
		after bus.Position
		want  bool
	}{
		{old, true},
		{bus.Position{Epoch: old.Epoch, Offset: 2}, true},
		{bus.Position{Epoch: old.Epoch, Offset: 6}, !forked}, // then it is of another epoch
		{at[0], true},
		{bus.Position{Epoch: at[0].Epoch, Offset: at[0].Offset + 100}, false},
		{bus.Position{Epoch: "unknown", Offset: 1}, false},
	} {
		if got, err := tl.Recovers(ctx, a, at[0], c.after); got != c.want || err != nil {
			t.Errorf("after %+v: %t, %v", c.after, got, err)
		}
	}
}

// A cut of the subscriptions costs a question for 512 addresses, and a read for each that has missed something.
func TestTail_aCutOfManyQuietSubscriptions(t *testing.T) {
	const quiet, behind = 4000, 5
	server := redistest.Start(t)
	s := open(t, server.URL())
	f := &follower{}
	tl := tail.New(s, f, tail.Config{
		Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: long}}, CheckInterval: time.Hour,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = tl.Run(ctx) })
	defer func() { cancel(); done.Wait() }()
	all := quietOnes(t, "channels", quiet)
	for i := 0; i < quiet; i += 500 {
		_, err := tl.Acquire(ctx, all[i:i+500]...)
		testkit.Check(t, err)
	}
	for _, a := range all[:behind] {
		numbered(t, s, a, 1)
	}
	testkit.Eventually(t, "the first come", func() bool { return f.arrived.Load() == behind })
	before := calls(t, server, "evalsha")
	_, err := server.CLI("client", "kill", "type", "pubsub")
	testkit.Check(t, err)
	for _, a := range all[:behind] { // in the gap, or after it
		numbered(t, s, a, 1)
	}
	testkit.Eventually(t, "what was sent in the gap comes", func() bool { return f.arrived.Load() == 2*behind })
	testkit.Eventually(t, "all have healed", func() bool { return tl.Stats().Healing == 0 && tl.Ready() == nil })
	// Each publish is a script, and each probe at most.
	if n := calls(t, server, "evalsha") - before - behind; n > quiet/512+2*behind+20 {
		t.Errorf("%d scripts", n)
	}
	if len(f.gaps) > 0 {
		t.Errorf("gaps are %+v", f.gaps)
	}
}
