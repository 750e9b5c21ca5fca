package bustest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// settle judges and carries out what has come.
func (b *mailbox) settle(id string) bus.Settlement {
	b.Helper()
	out, err := b.s.Settle(b.Context(), bus.Due{To: b.to, ID: id})
	testkit.Check(b, err)
	return out
}

// isDue says whether a message is to be looked at now.
func (b *mailbox) isDue(id string) bool {
	b.Helper()
	due, err := b.s.DueDeliveries(b.Context(), 1<<20)
	testkit.Check(b, err)
	found := false
	for _, d := range due {
		found = found || d == bus.Due{To: b.to, ID: id}
	}
	return found
}

func (b *mailbox) count(want int) {
	b.Helper()
	stats, err := b.s.InboxStats(b.Context(), b.to)
	testkit.Check(b, err)
	if stats.Count != want {
		b.Errorf("%d wait, want %d", stats.Count, want)
	}
}

func testEachDevice(t *testing.T, s bus.Store) {
	t.Run("acknowledged by all is final", func(t *testing.T) { testAckedIsFinal(t, s) })
	t.Run("a device that comes later is given it until its end", func(t *testing.T) { testLateDevice(t, s) })
	t.Run("devices count their own deliveries", func(t *testing.T) { testDeliveriesOfDevices(t, s) })
	t.Run("more devices than are told apart", func(t *testing.T) { testManyDevices(t, s) })
	t.Run("what everybody acknowledged makes room", func(t *testing.T) { testAckedMakesRoom(t, s) })
	t.Run("a newer one takes the place of an acknowledged one", func(t *testing.T) {
		b := newMailbox(t, s)
		keyed := func(text string) bus.Publication { p := b.each(text); p.Ack.CollapseKey = "score"; return p }
		old := b.send(keyed("1:0"))
		b.acked("phone", old)
		b.send(keyed("2:0"))
		b.is("for another device", b.waiting("desk", false), "[2:0]")
		if st := b.state(old); st != bus.StateAcked {
			t.Errorf("the state is %d", st)
		}
	})
}

func testAckedIsFinal(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.each("x")
	p.Ack.Timeout, p.Ack.Keep = 100*time.Millisecond, 400*time.Millisecond
	id := b.send(p)
	b.is("phone", b.waiting("phone", true), "[x]")
	b.is("desk", b.waiting("desk", true), "[x]")
	b.acked("phone", id)
	b.acked("desk", id)
	d := b.delivery(id)
	if d.State(d.Published) != bus.StateAcked || d.Ended.IsZero() || d.State(d.Expires) != bus.StateAcked {
		t.Errorf("delivery is %+v", d)
	}
	ended := d.Ended
	if st := d.DeviceState(d.Devices[0], d.Expires); st != bus.StateAcked {
		t.Errorf("the device is %d", st)
	}
	b.given("tablet", id) // does not open it again
	testkit.Eventually(t, "its time is over", func() bool { return b.waiting("watch", false) == "[]" })
	v, errs := s.Judge(t.Context(), []bus.Due{{To: b.to, ID: id}})
	testkit.Check(t, errs[0])
	if v[0].Changed != 0 || !v[0].Next.IsZero() {
		t.Errorf("the verdict is %+v", v[0])
	}
	if out := b.settle(id); out.Changed != 0 || !out.Next.IsZero() {
		t.Errorf("settled as %+v", out)
	}
	if b.isDue(id) {
		t.Error("it is looked at again")
	}
	if d := b.delivery(id); d.State(time.Now()) != bus.StateAcked || d.Reason != "" || !d.Ended.Equal(ended) || d.SentCount != 3 || d.AckedCount != 2 {
		t.Errorf("delivery is %+v", d)
	}
	if err := s.Discard(t.Context(), b.to, id, bus.EndDeadLetter); !errors.Is(err, bus.ErrMessageNotFound) {
		t.Errorf("discard: %v", err)
	}
	if st := b.state(id); st != bus.StateAcked {
		t.Errorf("after it was discarded the state is %d", st)
	}
	b.count(0)
}

func testLateDevice(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id := b.send(b.each("x"))
	first := b.send(b.mail("y"))
	b.acked("phone", id, first)
	b.count(0)
	b.is("what waits", b.waiting("", false), "[]")
	page, err := s.Since(t.Context(), b.to, inboxLog, bus.Position{}, 10)
	testkit.Check(t, err)
	b.is("the log", texts(page.Messages), "[x]")
	for range 2 {
		b.is("a late device", b.waiting("desk", true), "[x]")
	}
	l := listen(t, s, b.to)
	_, err = s.Delivery(t.Context(), b.to, id, true)
	testkit.Check(t, err)
	b.acked("desk", id)
	b.acked("desk", id)
	b.is("after its ack", b.waiting("desk", true), "[]")
	b.is("the first", b.waiting("phone", true), "[]")
	d := b.delivery(id)
	if d.State(time.Now()) != bus.StateAcked || d.SentCount != 2 || d.AckedCount != 2 || d.Devices[0].Client != "desk" || d.Devices[0].Acked.IsZero() {
		t.Errorf("delivery is %+v", d)
	}
	b.send(b.mail("next")) // nobody was dismissed
	for m := l.next(); text(m) != "next"; m = l.next() {
		if m.Kind != bus.MessageReceipt {
			t.Errorf("got %+v", m)
		}
	}
}

func testDeliveriesOfDevices(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.each("x")
	p.Ack.MaxDeliveries, p.Ack.DeadLetter = 2, address(t)
	id := b.send(p)
	dead := func(device string) (dead, there bool) {
		t.Helper()
		page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Device: device, Limit: 10, Deliver: true})
		testkit.Check(t, err)
		if len(page.Messages) == 0 {
			return false, false
		}
		return page.Messages[0].Dead, true
	}
	for _, device := range []string{"a", "b"} {
		for range 2 {
			if d, there := dead(device); d || !there {
				t.Errorf("%s: dead %t, there %t", device, d, there)
			}
			b.given(device, id)
		}
	}
	if d, _ := dead("a"); !d {
		t.Error("a was given it twice, and it is not dead to it")
	}
	b.acked("a", id)
	if d, there := dead("c"); d || !there {
		t.Errorf("a device that comes later: dead %t, there %t", d, there)
	}
	b.acked("b", id)
	for range 2 {
		if d, there := dead("c"); d || !there {
			t.Errorf("after all others acknowledged it: dead %t, there %t", d, there)
		}
		b.given("c", id)
	}
	if _, there := dead("c"); there {
		t.Error("what has ended is delivered more often than it may be")
	}
	if d := b.delivery(id); d.Deliveries != 6 || d.State(time.Now()) != bus.StateAcked {
		t.Errorf("delivery is %+v", d)
	}
}

func testManyDevices(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id := b.send(b.each("x"))
	name := func(i int) string { return fmt.Sprint("device", i) }
	for i := range bus.MaxDevices + 5 {
		testkit.Check(t, s.MarkSent(t.Context(), []bus.Ack{{To: b.to, ID: id, Device: name(i)}}))
	}
	for i := range bus.MaxDevices + 5 {
		want := "[x]"
		if i >= bus.MaxDevices {
			want = "[]"
		}
		b.is(name(i), b.waiting(name(i), true), want)
	}
	for range 2 { // each round is the same as one
		for i := range bus.MaxDevices + 5 {
			b.acked(name(i), id)
			b.is(name(i)+" after its ack", b.waiting(name(i), true), "[]")
		}
		d := b.delivery(id)
		if d.SentCount != bus.MaxDevices || d.AckedCount != bus.MaxDevices || len(d.Devices) != bus.MaxDevices || d.State(time.Now()) != bus.StateAcked {
			t.Errorf("%d given, %d acknowledged, %d devices, state %d", d.SentCount, d.AckedCount, len(d.Devices), d.State(time.Now()))
		}
	}
	whose := b.send(b.mail("any")) // one ack of whomever is enough
	for i := range bus.MaxDevices + 5 {
		b.is(name(i), b.waiting(name(i), true), "[any]")
	}
	b.acked(name(bus.MaxDevices+1), whose)
	b.is("after one ack", b.waiting(name(0), true), "[]")
	if d := b.delivery(whose); d.State(time.Now()) != bus.StateAcked || d.AckedCount != 1 {
		t.Errorf("delivery is %+v", d)
	}
}

func testAckedMakesRoom(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	limited := func(text string) bus.Publication { p := b.each(text); p.Ack.Limit = 3; return p }
	var ids []string
	for i := range 8 {
		ids = append(ids, b.send(limited(fmt.Sprint(i))))
		b.acked("phone", ids[i])
	}
	b.count(0)
	b.is("a late device", b.waiting("desk", false), "[5 6 7]") // as many as may wait
	b.acked("desk", ids[0])                                    // still known
	for _, text := range []string{"a", "b", "c"} {
		b.send(limited(text))
	}
	if _, err := s.Publish(t.Context(), Admit(limited("d"))); !errors.Is(err, bus.ErrInboxFull) {
		t.Errorf("got %v", err)
	}
	b.count(3)
	b.is("what waits", b.waiting("", false), "[a b c]")
	for _, id := range ids {
		if st := b.state(id); st != bus.StateAcked {
			t.Errorf("the state is %d", st)
		}
	}
}

// testIDs uses message ids again.
func testIDs(t *testing.T, s bus.Store) {
	t.Run("a message that waits is itself again", func(t *testing.T) {
		b := newMailbox(t, s)
		p := b.mail("x")
		first := publish(t, s, p)
		b.waiting("phone", true)
		p.Message.Data = []byte("y")
		if again := publish(t, s, p); !again.Duplicate || again.Position != first.Position {
			t.Errorf("got %+v after %+v", again, first)
		}
		b.is("phone", b.waiting("phone", false), "[x]")
		if d := b.delivery(first.ID); d.SentCount != 1 {
			t.Errorf("delivery is %+v", d)
		}
		b.acked("phone", first.ID)
		b.is("after its ack", b.waiting("desk", false), "[]")
		b.count(0)
	})
	t.Run("one that has ended is another", func(t *testing.T) {
		b := newMailbox(t, s)
		for _, p := range []bus.Publication{b.mail("x"), b.each("y")} {
			want := fmt.Sprintf("[%s]", p.Message.Data)
			for range 3 {
				if r := publish(t, s, p); r.Duplicate {
					t.Errorf("got %+v", r)
				}
				b.is("phone", b.waiting("phone", true), want)
				b.is("desk", b.waiting("desk", false), want)
				b.acked("phone", p.Message.ID)
				b.is("after its ack", b.waiting("phone", true), "[]")
			}
			b.count(0)
		}
	})
	t.Run("an ended one has no say", func(t *testing.T) {
		b := newMailbox(t, s)
		p := b.mail("x")
		p.Ack.Keep = 0
		id := b.send(p)
		for range 2 {
			b.acked("phone", id)
			if st := b.state(id); st != bus.StateExpired {
				t.Errorf("an ack made its state %d", st)
			}
			b.settle(id)
		}
	})
}

// testDeliveriesAreWritten reads without writing.
func testDeliveriesAreWritten(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.Ack.MaxDeliveries, p.Ack.DeadLetter = 1, address(t)
	id := b.send(p)
	for range 5 {
		page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Device: "phone", Limit: 10, Deliver: true})
		testkit.Check(t, err)
		if len(page.Messages) != 1 || page.Messages[0].Dead || page.Messages[0].Deliveries != 0 {
			t.Fatalf("the page is %+v", page.Messages)
		}
	}
	if d := b.delivery(id); d.State(time.Now()) != bus.StatePending || d.SentCount != 0 {
		t.Errorf("nobody was given it: %+v", d)
	}
	b.given("phone", id)
	page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Device: "phone", Limit: 10, Deliver: true})
	testkit.Check(t, err)
	if !page.Messages[0].Dead || page.Messages[0].Deliveries != 1 || b.state(id) != bus.StateSent {
		t.Errorf("it was given it once: %+v", page.Messages[0])
	}
}
