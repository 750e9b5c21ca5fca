package redis_test

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// withdrawn publishes what asks for a replica while that stands still, and then something behind it, which is shown when
// the first is withdrawn.
func withdrawn(t *testing.T, s *redis.Store, replica *redistest.Server, publish func() error, behind bus.Publication) {
	t.Helper()
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	if err := publish(); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	_, err := s.Publish(t.Context(), bustest.Admit(behind))
	testkit.Check(t, err)
	testkit.Eventually(t, "what is behind it is shown", func() bool {
		tops, errs := s.Tops(t.Context(), []bus.Address{behind.Message.To})
		testkit.Check(t, errors.Join(errs...))
		return tops[0].Offset >= 2
	})
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
}

// A change of a state is read by nobody before it is as durable as it asked to be. When it is withdrawn, its repeat is a new one.
func TestState_waitsUnseen(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/state")
	c := bus.StateChange{Publication: replicated(a, "key", 1), Value: []byte(`{"a":1}`), TTL: time.Hour}
	other := bus.StateChange{Publication: publication(a), Value: []byte(`{"b":1}`), TTL: time.Hour}
	behind := publication(a)
	behind.Retention = long
	withdrawn(t, s, replica, func() error {
		_, err := s.SetState(t.Context(), bustest.AdmitState(c))
		if at, err := s.State(t.Context(), a); err != nil || at.Revision != 0 {
			t.Errorf("while no replica has it the state is %s, %v", at.Value, err)
		}
		if _, err := s.SetState(t.Context(), bustest.AdmitState(other)); !errors.Is(err, bus.ErrRevisionMismatch) {
			t.Errorf("another change of the same revision meanwhile: %v", err)
		}
		return err
	}, behind)
	testkit.Eventually(t, "the repeat is taken", func() bool {
		at, err := s.SetState(t.Context(), bustest.AdmitState(c))
		if err != nil && !errors.Is(err, bus.ErrNotReached) {
			t.Fatalf("the repeat: %v", err)
		}
		return err == nil && at.Revision == 1
	})
	if at, err := s.State(t.Context(), a); err != nil || at.Revision != 1 || string(at.Value) != `{"a":1}` {
		t.Errorf("afterwards the state is %s at %d, %v", at.Value, at.Revision, err)
	}
}

// A change of a state that nobody comes to show, and nothing is published behind, stands in the way of others for a moment.
func TestState_givenUpMakesRoom(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/room")
	c := bus.StateChange{Publication: replicated(a, "key", 1), Value: []byte(`{"a":1}`), TTL: time.Hour}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	if _, err := s.SetState(t.Context(), bustest.AdmitState(c)); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without the replica: %v", err)
	}
	other := bus.StateChange{Publication: publication(a), Value: []byte(`{"b":1}`), TTL: time.Hour}
	other.Retention = long
	testkit.Eventually(t, "another change is taken", func() bool {
		_, err := s.SetState(t.Context(), bustest.AdmitState(other))
		if err != nil && !errors.Is(err, bus.ErrRevisionMismatch) {
			t.Fatal(err)
		}
		return err == nil
	})
	if at, err := s.State(t.Context(), a); err != nil || at.Revision != 1 || string(at.Value) != `{"b":1}` {
		t.Errorf("the state is %s at %d, %v", at.Value, at.Revision, err)
	}
}

// A message takes the place of another one when it is shown: one that is withdrawn takes nothing with it.
func TestCollapse_waitsForWhatTakesThePlace(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "users/collapse")
	letter := func(text, key string, replicas int) bus.Publication {
		p := mail(a, text)
		if p.Ack.CollapseKey = key; replicas > 0 {
			p.Durability, p.Replicas = bus.Replicated, replicas
		}
		return p
	}
	waiting := func() string {
		page, err := s.Pending(t.Context(), a, bus.PendingQuery{Device: "phone", Limit: 100})
		testkit.Check(t, err)
		var texts []string
		for _, m := range page.Messages {
			texts = append(texts, string(m.Data))
		}
		return strings.Join(texts, " ")
	}
	_, err := s.Publish(t.Context(), bustest.Admit(letter("first", "c", 0)))
	testkit.Check(t, err)
	withdrawn(t, s, replica, func() error {
		_, err := s.Publish(t.Context(), bustest.Admit(letter("second", "c", 1)))
		if got := waiting(); got != "first" {
			t.Errorf("while the second is hidden %q waits", got)
		}
		return err
	}, letter("third", "", 0))
	testkit.Eventually(t, "the third waits", func() bool { return strings.HasSuffix(waiting(), "third") })
	if got := waiting(); got != "first third" {
		t.Errorf("after the second was withdrawn %q waits", got)
	}
	testkit.Eventually(t, "the repeat of the second is taken", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(letter("second", "c", 1)))
		return err == nil
	})
	if got := waiting(); got != "third second" {
		t.Errorf("after its repeat %q waits", got)
	}
	if d, err := s.Delivery(t.Context(), a, "first", false); err != nil || d.Reason != bus.EndCollapsed {
		t.Errorf("the first ended as %+v, %v", d, err)
	}
}

// Whoever follows an address shows what is OK and waits behind something hidden, when those who published both have died.
func TestReplicated_followersShowWhatTheDeadHeldUp(t *testing.T) {
	master, replica := pair(t)
	reader := open(t, master.URL())
	for _, a := range []bus.Address{address(t, "channels/dead"), address(t, "users/dead")} {
		f := trail(t, reader, a)
		s, err := redis.Open(redis.Config{URL: master.URL()}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		letter := func(id string, replicas int) bus.Publication {
			p := replicated(a, id, replicas)
			if a.HasInbox() {
				p = mail(a, id)
				p.Durability, p.Replicas = bus.Replicated, replicas
			}
			if replicas == 0 {
				p.Durability = bus.Accepted
			}
			return p
		}
		testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
		if _, err := s.Publish(t.Context(), bustest.Admit(letter("hidden", 1))); !errors.Is(err, bus.ErrNotReached) {
			t.Fatalf("without the replica: %v", err)
		}
		_, err = s.Publish(t.Context(), bustest.Admit(letter("behind", 0)))
		testkit.Check(t, err)
		testkit.Check(t, s.Close())
		testkit.Eventually(t, "what is behind it is delivered", func() bool { return f.arrived.Load() == 1 })
		testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
		f.mu.Lock()
		if f.messages[0].ID != "behind" || len(f.gaps) > 0 {
			t.Errorf("%s: delivered was %+v, gaps %+v", a, f.messages[0], f.gaps)
		}
		f.mu.Unlock()
	}
}

// The top of an inbox is at the newest entry that can be seen. This holds also when what is hidden behind it is older than a
// fork.
func TestInbox_topIsOfItsEpochOverAFork(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	s := open(t, server.URL())
	a := address(t, "users/fork")
	f := trail(t, s, a)
	before := mailed(t, s, a, 1, 3)
	testkit.Eventually(t, "they are delivered", func() bool { return f.arrived.Load() == 3 })
	hidden := mail(a, "hidden")
	hidden.Durability, hidden.Replicas = bus.Replicated, 1
	if _, err := s.Publish(t.Context(), bustest.Admit(hidden)); !errors.Is(err, bus.ErrNotReached) {
		t.Fatalf("without a replica: %v", err)
	}
	server.Kill9()
	server.Restart()
	testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	after := mailed(t, s, a, 10, 10)
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, errors.Join(errs...))
	page, err := s.Since(t.Context(), a, bus.Retention{Inbox: true}, before[2], 100)
	if err != nil || page.Top != before[2] || tops[0] != before[2] {
		t.Errorf("while it is hidden the top of a page is %+v, %v, and the top %+v, want %+v", page.Top, err, tops[0], before[2])
	}
	testkit.Eventually(t, "what is behind it is delivered", func() bool { return f.arrived.Load() == 4 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.messages[3].Position != after[0] || len(f.gaps) != 1 || f.gaps[0].Reason != bus.GapTailUnknown || f.between[0] != 3 {
		t.Errorf("the fourth is at %+v, want %+v; gaps %+v after %v", f.messages[3].Position, after[0], f.gaps, f.between)
	}
}
