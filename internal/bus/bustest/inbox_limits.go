package bustest

import (
	"errors"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testInboxLimits(t *testing.T, s bus.Store) {
	t.Run("a full inbox refuses", func(t *testing.T) { testInboxLimitsAFullInboxRefuses(t, s) })
	t.Run("what has ended makes room", func(t *testing.T) { testInboxLimitsWhatHasEndedMakesRoom(t, s) })
	t.Run("a collapse key keeps the newest", func(t *testing.T) { testInboxLimitsACollapseKeyKeepsTheNewest(t, s) })
	t.Run("a message dies after its deliveries", func(t *testing.T) { testInboxLimitsAMessageDiesAfterItsDeliveries(t, s) })
	t.Run("an idempotency key that is used again later is another message", func(t *testing.T) { testInboxLimitsAnIdempotencyKeyThatIsUsedAgain(t, s) })
	t.Run("an idempotency key enters once", func(t *testing.T) { testInboxLimitsAnIdempotencyKeyEntersOnce(t, s) })
	t.Run("settling", func(t *testing.T) { testSettle(t, s) })
}

func testInboxLimitsAFullInboxRefuses(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	limited := func(text string) bus.Publication { p := b.mail(text); p.Ack.Limit = 3; return p }
	first := b.send(limited("1"))
	b.send(limited("2"))
	b.send(limited("3"))
	if _, err := s.Publish(t.Context(), Admit(limited("4"))); !errors.Is(err, bus.ErrInboxFull) {
		t.Fatalf("got %v", err)
	}
	b.is("nothing is lost", b.waiting("", false), "[1 2 3]")
	b.acked("phone", first)
	b.send(limited("5"))
	b.is("there is room again", b.waiting("", false), "[2 3 5]")
}

func testInboxLimitsWhatHasEndedMakesRoom(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("old")
	p.Ack.Limit, p.Ack.Keep, p.Ack.Timeout = 1, 20*time.Millisecond, 10*time.Millisecond
	id := b.send(p)
	testkit.Eventually(t, "it ends", func() bool { return b.waiting("phone", true) == "[]" })
	next := b.mail("new")
	next.Ack.Limit = 1
	b.send(next)
	if b.state(id) != bus.StateExpired {
		t.Error("not expired")
	}
	b.is("inbox", b.waiting("phone", false), "[new]")
}

func testInboxLimitsACollapseKeyKeepsTheNewest(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	keyed := func(text string) bus.Publication { p := b.mail(text); p.Ack.CollapseKey = "score"; return p }
	old := b.send(keyed("1:0"))
	b.send(b.mail("other"))
	newer := b.send(keyed("2:0"))
	b.is("inbox", b.waiting("", false), "[other 2:0]")
	if d := b.delivery(old); d.Reason != bus.EndCollapsed || d.State(time.Now()) != bus.StateExpired {
		t.Errorf("delivery is %+v", d)
	}
	b.acked("phone", newer)
	b.send(keyed("3:0"))
	b.is("after an ack", b.waiting("", false), "[other 3:0]")
}

func testInboxLimitsAMessageDiesAfterItsDeliveries(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.Ack.MaxDeliveries, p.Ack.DeadLetter = 2, address(t)
	id := b.send(p)
	for i := range 3 {
		page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Device: "phone", Limit: 10, Deliver: true})
		testkit.Check(t, err)
		if len(page.Messages) != 1 || page.Messages[0].Dead != (i == 2) || page.Messages[0].Delivery.DeadLetter != p.Ack.DeadLetter {
			t.Errorf("delivery %d: %+v", i, page.Messages)
		}
		if i < 2 {
			b.given("phone", id)
		}
	}
	testkit.Check(t, s.Discard(t.Context(), b.to, id, bus.EndDeadLetter))
	b.is("inbox", b.waiting("phone", true), "[]")
	if d := b.delivery(id); d.Reason != bus.EndDeadLetter {
		t.Errorf("delivery is %+v", d)
	}
}

func testInboxLimitsAnIdempotencyKeyThatIsUsedAgain(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	var sent []bus.Receipt
	for range 2 {
		p := b.mail("x")
		p.IdempotencyKey, p.Digest, p.Window = "daily", "d", 50*time.Millisecond
		r := publish(t, s, p)
		sent = append(sent, r)
		testkit.Eventually(t, "the window has ended", func() bool { return s.Now().After(r.Published.Add(2 * p.Window)) })
	}
	if sent[0].ID == sent[1].ID || sent[1].Duplicate {
		t.Fatalf("receipts are %+v", sent)
	}
	b.is("both wait", b.waiting("phone", true), "[x x]")
	b.acked("phone", sent[0].ID, sent[1].ID)
	b.is("nothing waits for another device", b.waiting("desk", true), "[]")
	b.is("nor for this one", b.waiting("phone", true), "[]")
}

func testInboxLimitsAnIdempotencyKeyEntersOnce(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.IdempotencyKey, p.Digest, p.Window = p.Message.ID, "d", time.Minute
	first := publish(t, s, p)
	again := publish(t, s, p)
	if !again.Duplicate || again.Position != first.Position {
		t.Errorf("got %+v after %+v", again, first)
	}
	b.is("inbox", b.waiting("", false), "[x]")
}
