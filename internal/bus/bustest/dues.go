package bustest

import (
	"errors"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// testDues looks at the times of messages.
func testDues(t *testing.T, s bus.Store) {
	t.Run("leave with the end of a message", func(t *testing.T) { testDuesLeaveWithTheEndOfAMessage(t, s) })
	t.Run("stay with one that a device has not acknowledged", func(t *testing.T) { testDuesStayWithOneThatADeviceHasNot(t, s) })
	t.Run("a verdict is carried out as of its time", func(t *testing.T) { testDuesAVerdictIsCarriedOutAsOfItsTime(t, s) })
	t.Run("go by the clock of the store", func(t *testing.T) { testDuesGoByTheClockOfTheStore(t, s) })
}

func testSettle(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.Ack.Timeout, p.Ack.Keep = 30*time.Millisecond, 300*time.Millisecond
	id := b.send(p)
	acked := b.send(b.mail("acked"))
	b.acked("phone", acked)
	settle := func(id string) bus.Settlement {
		t.Helper()
		out, err := s.Settle(t.Context(), bus.Due{To: b.to, ID: id})
		testkit.Check(t, err)
		return out
	}
	if out := settle(id); out.Changed != 0 || out.Next.IsZero() {
		t.Errorf("too early: %+v", out)
	}
	if out := settle(acked); out.Changed != 0 || !out.Next.IsZero() {
		t.Errorf("an acknowledged one: %+v", out)
	}
	ours := func() (found bool) {
		due, err := s.DueDeliveries(t.Context(), 1000)
		testkit.Check(t, err)
		for _, d := range due {
			found = found || d == bus.Due{To: b.to, ID: id}
		}
		return found
	}
	testkit.Eventually(t, "it is due", ours)
	if ours() {
		t.Error("it was lent twice")
	}
	out := settle(id)
	if out.Changed != bus.StateStored || out.Next.UnixMilli() != b.delivery(id).Expires.UnixMilli() {
		t.Errorf("after its deadline: %+v", out)
	}
	if out := settle(id); out.Changed != 0 {
		t.Errorf("stored twice: %+v", out)
	}
	testkit.Eventually(t, "it is due again", ours)
	if out := settle(id); out.Changed != bus.StateExpired || !out.Next.IsZero() {
		t.Errorf("after its end: %+v", out)
	}
	if d := b.delivery(id); d.Reason != bus.EndTTL || d.State(time.Now()) != bus.StateExpired {
		t.Errorf("delivery is %+v", d)
	}
}

func testDuesLeaveWithTheEndOfAMessage(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	short := func(p bus.Publication) bus.Publication { p.Ack.Timeout = 0; return p }
	before, err := s.DueStats(t.Context())
	testkit.Check(t, err)
	acked, each, gone, left := b.send(short(b.mail("1"))), b.send(short(b.each("2"))), b.send(short(b.mail("3"))), b.send(short(b.mail("4")))
	stats, err := s.DueStats(t.Context())
	testkit.Check(t, err)
	if stats.Count != before.Count+4 {
		t.Errorf("%d after %d", stats.Count, before.Count)
	}
	b.acked("phone", acked, each)
	testkit.Check(t, s.Discard(t.Context(), b.to, gone, bus.EndDeadLetter))
	stats, err = s.DueStats(t.Context())
	testkit.Check(t, err)
	if stats.Count != before.Count+2 {
		t.Errorf("%d after %d", stats.Count, before.Count)
	}
	if !b.isDue(left) {
		t.Error("what waits is not due")
	}
	v, errs := s.Judge(t.Context(), []bus.Due{{To: b.to, ID: gone}})
	testkit.Check(t, errs[0])
	if v[0].Reason != bus.EndDeadLetter || v[0].Ended.IsZero() || v[0].Changed != 0 {
		t.Errorf("the verdict is %+v", v[0])
	}
	b.settle(gone)
	stats, err = s.DueStats(t.Context())
	testkit.Check(t, err)
	if stats.Count != before.Count+1 {
		t.Errorf("%d after %d", stats.Count, before.Count)
	}
}

func testDuesStayWithOneThatADeviceHasNot(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.each("x")
	p.Ack.Timeout = 0
	id := b.send(p)
	b.given("phone", id)
	b.given("desk", id)
	b.acked("phone", id)
	if !b.isDue(id) {
		t.Error("it is not due")
	}
	if out := b.settle(id); out.Changed != bus.StateStored {
		t.Errorf("settled as %+v", out)
	}
}

func testDuesAVerdictIsCarriedOutAsOfItsTime(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.Ack.Timeout, p.Ack.Keep = 0, 100*time.Millisecond
	id := b.send(p)
	due := []bus.Due{{To: b.to, ID: id}, {To: b.to, ID: "unknown"}}
	v, errs := s.Judge(t.Context(), due)
	testkit.Check(t, errors.Join(errs...))
	if v[0].Changed != bus.StateStored || v[0].Next != v[0].Expires || v[1].Changed != 0 || !v[1].Next.IsZero() {
		t.Errorf("verdicts are %+v", v)
	}
	testkit.Eventually(t, "its end", func() bool { return b.waiting("phone", false) == "[]" })
	out, errs := s.SettleAll(t.Context(), v)
	testkit.Check(t, errors.Join(errs...))
	if out[0].Changed != bus.StateStored || out[0].Next.IsZero() || out[1] != (bus.Settlement{}) {
		t.Errorf("settled as %+v", out)
	}
	v, errs = s.Judge(t.Context(), due[:1])
	testkit.Check(t, errors.Join(errs...))
	out, errs = s.SettleAll(t.Context(), v)
	testkit.Check(t, errors.Join(errs...))
	if v[0].Changed != bus.StateExpired || out[0].Changed != bus.StateExpired || !out[0].Next.IsZero() {
		t.Errorf("judged as %+v, settled as %+v", v, out)
	}
}

func testDuesGoByTheClockOfTheStore(t *testing.T, s bus.Store) {
	for _, wrong := range []time.Duration{-11 * time.Minute, 11 * time.Minute} {
		b := newMailbox(t, s)
		p := b.mail("x")
		p.Message.Published = p.Message.Published.Add(wrong)
		p.Ack.Timeout, p.Ack.Keep = 100*time.Millisecond, 300*time.Millisecond
		id := b.send(p)
		b.is("at once", b.waiting("phone", false), "[x]")
		if out := b.settle(id); out.Changed != 0 {
			t.Errorf("%s: settled at once as %+v", wrong, out)
		}
		testkit.Eventually(t, "its deadline", func() bool { return b.isDue(id) })
		if out := b.settle(id); out.Changed != bus.StateStored {
			t.Errorf("%s: settled as %+v", wrong, out)
		}
		testkit.Eventually(t, "its end", func() bool { return b.isDue(id) })
		if out := b.settle(id); out.Changed != bus.StateExpired {
			t.Errorf("%s: settled as %+v", wrong, out)
		}
	}
}
