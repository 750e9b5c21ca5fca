package redis_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// echoed waits until what was published to each of several addresses has come back on every subscription connection. Then
// nothing that was pushed before is still under way.
func echoed(t *testing.T, s *redis.Store, followers []*follower, addresses []bus.Address) {
	t.Helper()
	for i, a := range addresses {
		before := followers[i].arrived.Load()
		p := publication(a)
		p.Retention = bus.Retention{}
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
		testkit.Eventually(t, "the echo is there", func() bool { return followers[i].arrived.Load() > before })
	}
}

// echoes follows addresses enough to have one on each connection.
func echoes(t *testing.T, s *redis.Store) (followers []*follower, addresses []bus.Address) {
	t.Helper()
	for i := range 12 {
		a := address(t, fmt.Sprint("channels/echo", i))
		addresses = append(addresses, a)
		followers = append(followers, trail(t, s, a))
	}
	return followers, addresses
}

// visible is how many messages a reader of the log sees.
func visible(t *testing.T, s *redis.Store, a bus.Address) int {
	t.Helper()
	page, err := s.Since(t.Context(), a, long, bus.Position{}, 1000)
	testkit.Check(t, err)
	latest, err := s.Latest(t.Context(), a, long, 0, 1000)
	testkit.Check(t, err)
	if len(latest.Messages) != len(page.Messages) || latest.Top != page.Top {
		t.Errorf("forwards %d messages to %+v, backwards %d to %+v", len(page.Messages), page.Top, len(latest.Messages), latest.Top)
	}
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, errors.Join(errs...))
	if len(page.Messages) > 0 && tops[0] != page.Top {
		t.Errorf("the top is %+v, and that of a page %+v", tops[0], page.Top)
	}
	return len(page.Messages)
}

// What asks for a replica is shown to nobody before the replica has it, and in its order then.
func TestReplicated_isShownOnceItIs(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/hidden")
	f := trail(t, s, a)
	ears, mouths := echoes(t, s)
	_, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "one", 1)))
	testkit.Check(t, err)
	testkit.Eventually(t, "the first is delivered", func() bool { return f.arrived.Load() == 1 })

	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	if _, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "two", 1))); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	echoed(t, s, ears, mouths)
	if n := f.arrived.Load(); n != 1 {
		t.Errorf("%d messages were delivered before a replica had the second", n)
	}
	if n := visible(t, s, a); n != 1 {
		t.Errorf("%d messages can be read before a replica has the second", n)
	}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	r, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "two", 1)))
	if err != nil || !r.Duplicate || r.Position.Offset != 2 {
		t.Errorf("the repeat: %+v, %v", r, err)
	}
	_, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "three", 1)))
	testkit.Check(t, err)
	testkit.Eventually(t, "all are delivered", func() bool { return f.arrived.Load() == 3 })
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.messages {
		if m.Position.Offset != uint64(i+1) {
			t.Errorf("message %d is at %+v", i, m.Position)
		}
	}
	if n := visible(t, s, a); n != 3 || len(f.gaps) > 0 {
		t.Errorf("%d messages can be read, gaps are %+v", n, f.gaps)
	}
}

// A publish that was given up does not hold up what comes behind it for long, and a repeat publishes it anew.
func TestReplicated_givenUpMakesRoom(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/room")
	f := trail(t, s, a)
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	if _, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "given up", 1))); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	plain := publication(a)
	plain.Retention = long
	r, err := s.Publish(t.Context(), bustest.Admit(plain))
	if err != nil || r.Durability != bus.Accepted {
		t.Fatalf("an accepted one behind it: %+v, %v", r, err)
	}
	testkit.Eventually(t, "it is delivered all the same", func() bool { return f.arrived.Load() == 1 })
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	testkit.Eventually(t, "the repeat is replicated", func() bool {
		r, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "given up", 1)))
		return err == nil
	})
	testkit.Eventually(t, "both are delivered", func() bool { return f.arrived.Load() == 2 })
	if n := visible(t, s, a); n != 2 {
		t.Errorf("%d messages can be read", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.messages[1].Position.Offset != r.Position.Offset || len(f.gaps) > 0 {
		t.Errorf("the second is at %+v, the receipt says %+v; gaps %+v", f.messages[1].Position, r.Position, f.gaps)
	}
}

// A publish with an unknown outcome that is repeated after a failover is delivered once.
func TestReplicated_repeatAfterAFailoverIsDeliveredOnce(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL())
	a := address(t, "channels/once")
	f := trail(t, s, a)
	testkit.Eventually(t, "the replica has the first", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "one", 1)))
		return err == nil
	})
	testkit.Eventually(t, "it is delivered", func() bool { return f.arrived.Load() == 1 })
	sentinel.Cut()
	if _, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "two", 1))); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	sentinel.Master.Kill9()
	again := replicated(a, "two", 1)
	again.Durability, again.Replicas = bus.Accepted, 0 // the only replica is the master now
	testkit.Eventually(t, "the repeat is taken", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(again))
		return err == nil
	})
	last := publication(a)
	last.Retention = long
	last.Message.ID = "last"
	_, err := s.Publish(t.Context(), bustest.Admit(last))
	testkit.Check(t, err)
	testkit.Eventually(t, "the last is delivered", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.messages) > 0 && f.messages[len(f.messages)-1].ID == "last"
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]int{}
	for _, m := range f.messages {
		seen[m.ID]++
	}
	if len(f.messages) != 3 || seen["two"] != 1 {
		t.Errorf("delivered were %v", seen)
	}
}

// A message that waits for an ack is shown to nobody either before its replica has it, and it can be acknowledged then.
func TestReplicated_waitsUnseenInAnInbox(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "users/hidden")
	f := trail(t, s, a)
	ears, mouths := echoes(t, s)
	letter := func(id string) bus.Publication {
		p := mail(a, id)
		p.IdempotencyKey, p.Digest, p.Window = id, "d", time.Minute
		p.Durability, p.Replicas = bus.Replicated, 1
		return p
	}
	waiting := func() []bus.Waiting {
		page, err := s.Pending(t.Context(), a, bus.PendingQuery{Device: "phone", Limit: 100, Deliver: true})
		testkit.Check(t, err)
		return page.Messages
	}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	if _, err := s.Publish(t.Context(), bustest.Admit(letter("one"))); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	echoed(t, s, ears, mouths)
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, errors.Join(errs...))
	if n := len(waiting()); n != 0 || f.arrived.Load() != 0 || tops[0].Offset != 0 {
		t.Errorf("%d messages wait, %d were delivered, the top is %+v", n, f.arrived.Load(), tops[0])
	}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	r, err := s.Publish(t.Context(), bustest.Admit(letter("one")))
	if err != nil || !r.Duplicate || r.Durability != bus.Replicated {
		t.Fatalf("the repeat: %+v, %v", r, err)
	}
	testkit.Eventually(t, "it is delivered", func() bool { return f.arrived.Load() == 1 })
	got := waiting()
	if len(got) != 1 || got[0].Position != r.Position {
		t.Fatalf("waiting are %+v, the receipt says %+v", got, r)
	}
	testkit.Check(t, errors.Join(s.Ack(t.Context(), []bus.Ack{{To: a, ID: got[0].ID, Device: "phone"}})...))
	if n := len(waiting()); n != 0 {
		t.Errorf("%d messages wait after the ack", n)
	}
}

// What is on its way to the disk is shown once it is there.
func TestFsynced_isShownOnceItIs(t *testing.T) {
	s := open(t, redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always").URL())
	a := address(t, "channels/disk")
	f := trail(t, s, a)
	for i := range 50 {
		p := publication(a)
		p.Retention, p.Durability = long, bus.Fsynced
		r, err := s.Publish(t.Context(), bustest.Admit(p))
		if err != nil || r.Durability != bus.Fsynced {
			t.Fatalf("publish %d: %+v, %v", i, r, err)
		}
	}
	testkit.Eventually(t, "all are delivered", func() bool { return f.arrived.Load() == 50 })
	if n := visible(t, s, a); n != 50 {
		t.Errorf("%d messages can be read", n)
	}
}
