package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// mail returns a publication that asks for an ack.
func mail(to bus.Address, text string) bus.Publication {
	p := publication(to)
	p.Retention, p.Message.ID, p.Message.Data, p.Message.Ack = bus.Retention{}, text, []byte(text), bus.AnyDevice
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Hour, Keep: 2 * time.Hour, Limit: 1000}
	p.IdempotencyKey, p.Digest, p.Window = text, "d", time.Minute
	return p
}

// mailed publishes messages with the texts from to to, and returns the positions.
func mailed(tb testing.TB, s *redis.Store, a bus.Address, from, to int) []bus.Position {
	tb.Helper()
	var all []bus.Position
	for i := from; i <= to; i++ {
		r, err := s.Publish(tb.Context(), bustest.Admit(mail(a, fmt.Sprint(i))))
		testkit.Check(tb, err)
		all = append(all, r.Position)
	}
	return all
}

// waits compares what waits in an inbox with texts and positions.
func waits(tb testing.TB, s *redis.Store, a bus.Address, want map[string]bus.Position) {
	tb.Helper()
	page, err := s.Pending(tb.Context(), a, bus.PendingQuery{Limit: 1000})
	testkit.Check(tb, err)
	if len(page.Messages) != len(want) || page.More {
		tb.Errorf("%d messages wait, want %d", len(page.Messages), len(want))
	}
	last := uint64(0)
	for _, w := range page.Messages {
		if w.Position != want[string(w.Data)] || w.Position.Offset <= last {
			tb.Errorf("%q waits at %+v, want %+v, after offset %d", w.Data, w.Position, want[string(w.Data)], last)
		}
		last = w.Position.Offset
	}
}

// The acknowledged tail of an inbox is lost at a failover. What survived waits where it was. What comes after is of a new epoch,
// although it uses the offsets of what was lost. A follower that had seen the lost end hears of a gap.
func TestFailover_forksAnInbox(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL())
	a := address(t, "users/ada")
	f := trail(t, s, a)
	kept := mailed(t, s, a, 1, 5)
	testkit.Eventually(t, "the replica has them", func() bool {
		p := mail(a, "6")
		p.Durability, p.Replicas = bus.Replicated, 1
		r, err := s.Publish(t.Context(), bustest.Admit(p))
		if err == nil {
			kept = append(kept, r.Position)
		}
		return err == nil
	})
	sentinel.Cut()
	lost := mailed(t, s, a, 7, 10)
	testkit.Eventually(t, "the follower has seen the tail", func() bool { return f.arrived.Load() == 10 })
	sentinel.Master.Kill9()

	var next []bus.Position
	testkit.Eventually(t, "publishing works again", func() bool {
		call, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := s.Publish(call, bustest.Admit(mail(a, "11")))
		if err == nil {
			next = append(next, r.Position)
		}
		return err == nil
	})
	next = append(next, mailed(t, s, a, 12, 18)...) // beyond what was lost
	fresh, old := next[0].Epoch, kept[0].Epoch
	if fresh == old || next[0].Offset != 7 || next[7] != (bus.Position{Epoch: fresh, Offset: 14}) {
		t.Fatalf("the inbox went on at %+v after %+v", next, kept)
	}
	testkit.Eventually(t, "the follower has what followed", func() bool { return f.arrived.Load() == 18 })
	f.mu.Lock()
	if len(f.gaps) == 0 || f.between[0] != 10 || f.gaps[0].From != lost[3] || len(f.gaps) == 2 && f.gaps[1].Reason != bus.GapTailUnknown || len(f.gaps) > 2 {
		t.Errorf("gaps are %+v after %v messages", f.gaps, f.between)
	}
	for i, m := range f.messages[10:] {
		if m.Position != next[i] {
			t.Errorf("message %d came at %+v, want %+v", i, m.Position, next[i])
		}
	}
	f.mu.Unlock()

	want := map[string]bus.Position{}
	for i, p := range kept {
		want[fmt.Sprint(i+1)] = p
	}
	for i, p := range next {
		want[fmt.Sprint(i+11)] = p
	}
	waits(t, s, a, want)
	resumes(t, s, a, old, fresh)
	// A repeat of what survived is still answered with where it is, and acks go by id.
	if r, err := s.Publish(t.Context(), bustest.Admit(mail(a, "6"))); err != nil || !r.Duplicate || r.Position != kept[5] {
		t.Errorf("a repeat: %+v, %v", r, err)
	}
	errs := s.Ack(t.Context(), []bus.Ack{{To: a, ID: "2", Device: "phone"}, {To: a, ID: "8", Device: "phone"}, {To: a, ID: "13", Device: "phone"}})
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrMessageNotFound) || errs[2] != nil {
		t.Errorf("acks: %v", errs)
	}
	delete(want, "2")
	delete(want, "13")
	waits(t, s, a, want)
}

// resumes reads on from positions before and after a fork at offset 6.
func resumes(t *testing.T, s *redis.Store, a bus.Address, old, fresh string) {
	t.Helper()
	keep := bus.Retention{Length: 1000, Age: time.Hour, Inbox: true}
	for _, c := range []struct {
		after bus.Position
		first uint64
		gap   bool
	}{
		{bus.Position{Epoch: old, Offset: 3}, 4, true}, // nothing is known to be missing, and nothing proves it
		{bus.Position{Epoch: old, Offset: 6}, 7, true},
		{bus.Position{Epoch: old, Offset: 10}, 7, true},
		{bus.Position{Epoch: fresh, Offset: 3}, 4, false},
		{bus.Position{Epoch: fresh, Offset: 10}, 11, false},
		{bus.Position{Epoch: "other", Offset: 3}, 1, true},
		{bus.Position{Epoch: fresh, Offset: 14}, 0, false},
		{bus.Position{Epoch: fresh, Offset: 15}, 0, true},
	} {
		page, err := s.Since(t.Context(), a, keep, c.after, 100)
		first := uint64(0)
		if len(page.Messages) > 0 {
			first = page.Messages[0].Position.Offset
		}
		if errors.Is(err, bus.ErrGap) != c.gap || !c.gap && err != nil || first != c.first {
			t.Errorf("after %+v: %v, page from %d", c.after, err, first)
		}
		pending, err := s.Pending(t.Context(), a, bus.PendingQuery{After: c.after.Offset, Epoch: c.after.Epoch, Limit: 100})
		if err != nil || len(pending.Messages) != len(page.Messages) {
			t.Errorf("after %+v %d wait, and %d are read: %v", c.after, len(pending.Messages), len(page.Messages), err)
		}
	}
}

// A server that certainly comes back with everything goes on with the epoch, however often; what waits keeps the positions that
// its receivers know.
func TestRestart_keepsAnInbox(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	a := address(t, "users/ada")
	f := trail(t, s, a)
	want := map[string]bus.Position{}
	epochs := map[string]bool{}
	const lives = 20 // more than past epochs are remembered
	for i := range lives {
		at := mailed(t, s, a, i, i)[0]
		if want[fmt.Sprint(i)] = at; at.Offset != uint64(i+1) {
			t.Errorf("message %d is at %+v", i, at)
		}
		epochs[at.Epoch] = true
		if i%5 == 0 {
			testkit.Eventually(t, "the follower has them", func() bool { return f.arrived.Load() == int64(i+1) })
		}
		server.Kill9()
		server.Restart()
		testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	}
	testkit.Eventually(t, "the follower has everything", func() bool { return f.arrived.Load() == lives })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gaps) != 0 || len(epochs) != 1 {
		t.Errorf("%d epochs, gaps are %+v", len(epochs), f.gaps)
	}
	waits(t, s, a, want)
}
