package bustest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// mailbox is an inbox that no other test uses.
type mailbox struct {
	*testing.T
	s  bus.Store
	to bus.Address
}

func newMailbox(t *testing.T, s bus.Store) *mailbox {
	t.Helper()
	a, err := bus.NewAddress(bus.KindUsers, uuid.NewString())
	testkit.Check(t, err)
	return &mailbox{t, s, a}
}

var inboxLog = bus.Retention{Length: 1000, Age: time.Hour, Inbox: true}

// mail returns a publication that asks for an ack within a minute and is kept for an hour.
func (b *mailbox) mail(text string) bus.Publication {
	p := bus.Publication{Message: message(b.to, text)}
	p.Message.Ack = bus.AnyDevice
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Minute, Keep: time.Hour, Limit: 1000}
	return p
}

func (b *mailbox) send(p bus.Publication) string {
	b.Helper()
	return publish(b, b.s, p).ID
}

func (b *mailbox) each(text string) bus.Publication {
	p := b.mail(text)
	p.Message.Ack, p.Ack.Scope = bus.EachDevice, bus.EachDevice
	return p
}

func (b *mailbox) ack(device string, ids ...string) []error {
	b.Helper()
	acks := make([]bus.Ack, len(ids))
	for i, id := range ids {
		acks[i] = bus.Ack{To: b.to, ID: id, Device: device, Connection: "conn-" + device}
	}
	return b.s.Ack(b.Context(), acks)
}

func (b *mailbox) acked(device string, ids ...string) {
	b.Helper()
	for _, err := range b.ack(device, ids...) {
		testkit.Check(b, err)
	}
}

// waiting returns the texts that a device would be given, and notes that it was when they are to be delivered.
func (b *mailbox) waiting(device string, deliver bool) string {
	b.Helper()
	var all []*bus.Message
	after := uint64(0)
	for {
		page, err := b.s.Pending(b.Context(), b.to, bus.PendingQuery{Device: device, After: after, Limit: 3, Deliver: deliver})
		testkit.Check(b, err)
		for _, w := range page.Messages {
			all = append(all, w.Message)
			if deliver && !w.Dead {
				b.given(device, w.ID)
			}
		}
		if !page.More {
			return texts(all)
		}
		after = page.Next
	}
}

// given notes that messages were delivered again to a device.
func (b *mailbox) given(device string, ids ...string) {
	b.Helper()
	for _, id := range ids {
		testkit.Check(b, b.s.MarkSent(b.Context(), []bus.Ack{{To: b.to, ID: id, Device: device, Again: true}}))
	}
}

func (b *mailbox) is(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func (b *mailbox) delivery(id string) bus.Delivery {
	b.Helper()
	d, err := b.s.Delivery(b.Context(), b.to, id, false)
	testkit.Check(b, err)
	return d
}

func (b *mailbox) state(id string) bus.DeliveryState {
	b.Helper()
	d := b.delivery(id)
	return d.State(time.Now())
}

func testInbox(t *testing.T, open Open) {
	s := open(t)
	t.Run("keeps what is not acknowledged, in order", func(t *testing.T) { testInboxKeepsWhatIsNotAcknowledgedInOrder(t, s) })
	t.Run("positions are dense and acks leave no gap", func(t *testing.T) { testInboxPositionsAreDenseAndAcksLeaveNoGap(t, s) })
	t.Run("pages go on where they ended", func(t *testing.T) { testInboxPagesGoOnWhereTheyEnded(t, s) })
	t.Run("an inbox that was lost is a gap", func(t *testing.T) { testInboxAnInboxThatWasLostIsAGap(t, s) })
	t.Run("the first ack dismisses it elsewhere", func(t *testing.T) { testInboxTheFirstAckDismissesItElsewhere(t, s) })
	t.Run("unknown messages", func(t *testing.T) { testInboxUnknownMessages(t, s) })
	t.Run("each device acknowledges for itself", func(t *testing.T) { testInboxEachDeviceAcknowledgesForItself(t, s) })
	t.Run("each device", func(t *testing.T) { testEachDevice(t, s) })
	t.Run("ids", func(t *testing.T) { testIDs(t, s) })
	t.Run("dues", func(t *testing.T) { testDues(t, s) })
	t.Run("deliveries count when they are written", func(t *testing.T) { testDeliveriesAreWritten(t, s) })
	t.Run("receipts", func(t *testing.T) { testReceipts(t, s) })
	t.Run("denials", func(t *testing.T) { testDenied(t, s) })
	t.Run("limits", func(t *testing.T) { testInboxLimits(t, s) })
	t.Run("concurrent acks", func(t *testing.T) { testInboxConcurrentAcks(t, s) })
}

func testReceipts(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	p := b.mail("x")
	p.TTL = time.Hour
	id := b.send(p)
	d := b.delivery(id)
	if d.State(time.Now()) != bus.StatePending || d.Scope != bus.AnyDevice || d.Expires.Sub(d.Published) != time.Hour || d.Deadline.Sub(d.Published) != time.Minute || len(d.Devices) != 0 {
		t.Errorf("delivery is %+v", d)
	}
	if d.State(d.Deadline.Add(-time.Millisecond)) != bus.StatePending || d.State(d.Deadline) != bus.StateStored || d.State(d.Expires) != bus.StateExpired {
		t.Error("the state does not follow from the times")
	}
	l := listen(t, s, b.to)
	if _, err := s.Delivery(t.Context(), b.to, id, true); err != nil {
		t.Fatal(err)
	}
	hinted := func() {
		t.Helper()
		if m := l.next(); m.Kind != bus.MessageReceipt || m.ID != id {
			t.Errorf("got %+v", m)
		}
	}
	sent := []bus.Ack{{To: b.to, ID: id, Device: "phone"}, {To: b.to, ID: id, Device: "desk"}, {To: b.to, ID: id, Device: "phone"}}
	testkit.Check(t, s.MarkSent(t.Context(), sent))
	hinted()
	hinted()
	d = b.delivery(id)
	if d.State(time.Now()) != bus.StateSent || d.SentCount != 2 || d.Deliveries != 1 || d.Devices[1].Client != "phone" || d.Devices[1].Sent.IsZero() {
		t.Errorf("delivery is %+v", d)
	}
	if d.DeviceState(d.Devices[0], time.Now()) != bus.StateSent || d.DeviceState(d.Devices[0], d.Deadline) != bus.StateStored {
		t.Error("the state of a device does not follow from the times")
	}
	b.acked("desk", id)
	if m := l.next(); m.Kind != bus.MessageDismissal {
		t.Errorf("got %+v", m)
	}
	hinted()
	d = b.delivery(id)
	if d.State(time.Now()) != bus.StateAcked || d.AckedCount != 1 || d.Ended.IsZero() || d.Devices[0].Acked.IsZero() || !d.Devices[1].Acked.IsZero() {
		t.Errorf("delivery is %+v", d)
	}
}

func testInboxKeepsWhatIsNotAcknowledgedInOrder(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	var ids []string
	for i := range 8 {
		ids = append(ids, b.send(b.mail(fmt.Sprint(i))))
	}
	b.is("all", b.waiting("phone", true), "[0 1 2 3 4 5 6 7]")
	b.acked("phone", ids[0], ids[3], ids[7])
	b.is("after acks", b.waiting("phone", true), "[1 2 4 5 6]")
	b.acked("phone", ids[0]) // twice is the same as once
	b.is("for another device", b.waiting("desk", false), "[1 2 4 5 6]")
	stats, err := s.InboxStats(t.Context(), b.to)
	testkit.Check(t, err)
	if stats.Count != 5 || stats.Oldest.IsZero() {
		t.Errorf("stats are %+v", stats)
	}
}

func testInboxPositionsAreDenseAndAcksLeaveNoGap(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	first := publish(t, s, b.mail("1"))
	var ids []string
	for i := 2; i <= 5; i++ {
		r := publish(t, s, b.mail(fmt.Sprint(i)))
		if r.Position != (bus.Position{Epoch: first.Position.Epoch, Offset: uint64(i)}) || r.Durability != bus.Accepted {
			t.Errorf("receipt %d is %+v", i, r)
		}
		ids = append(ids, r.ID)
	}
	b.acked("phone", first.ID, ids[0])
	page, err := s.Since(t.Context(), b.to, inboxLog, first.Position, 10)
	testkit.Check(t, err)
	b.is("since", texts(page.Messages), "[3 4 5]")
	page, err = s.Since(t.Context(), b.to, inboxLog, bus.Position{}, 2)
	testkit.Check(t, err)
	b.is("first page", texts(page.Messages), "[3 4]")
	if !page.More || page.Next.Offset != 4 {
		t.Errorf("next is %+v, more %t", page.Next, page.More)
	}
	tops, errs := s.Tops(t.Context(), []bus.Address{b.to, address(t)})
	testkit.Check(t, bus.FirstError(errs))
	if tops[0] != page.Top || tops[0].Offset != 5 || tops[1].Epoch == "" {
		t.Errorf("tops are %+v", tops)
	}
	_, err = s.Since(t.Context(), b.to, inboxLog, bus.Position{Epoch: "another", Offset: 3}, 10)
	if !errors.Is(err, bus.ErrGap) {
		t.Errorf("another epoch: %v", err)
	}
}

func testInboxPagesGoOnWhereTheyEnded(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	for i := 1; i <= 5; i++ {
		b.send(b.mail(fmt.Sprint(i)))
	}
	first, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Limit: 2})
	testkit.Check(t, err)
	for _, c := range []struct {
		epoch string
		after uint64
		want  string
	}{
		{first.Top.Epoch, first.Next, "[3 4 5]"}, {"", first.Next, "[3 4 5]"}, {first.Top.Epoch, 9, "[]"}, {"another", 4, "[1 2 3 4 5]"},
	} {
		page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{After: c.after, Epoch: c.epoch, Limit: 10})
		testkit.Check(t, err)
		var all []*bus.Message
		for _, w := range page.Messages {
			all = append(all, w.Message)
		}
		b.is(fmt.Sprint("after ", c.epoch, " ", c.after), texts(all), c.want)
		if page.Next != 5 || page.More || page.Top != first.Top {
			t.Errorf("next is %d, more %t, top %+v", page.Next, page.More, page.Top)
		}
	}
	page, err := s.Since(t.Context(), b.to, inboxLog, bus.Position{Epoch: first.Top.Epoch, Offset: 9}, 10)
	if !errors.Is(err, bus.ErrGap) || len(page.Messages) != 0 || page.Next != page.Top {
		t.Errorf("since a position beyond the end: %v, %+v", err, page)
	}
}

func testInboxAnInboxThatWasLostIsAGap(t *testing.T, s bus.Store) {
	b := newMailbox(t, s) // as after FLUSHALL: whoever comes back knows an epoch that nobody knows any more
	known := bus.Position{Epoch: "lost", Offset: 3}
	page, err := s.Since(t.Context(), b.to, inboxLog, known, 1)
	if !errors.Is(err, bus.ErrGap) || len(page.Messages) != 0 {
		t.Errorf("with nothing in it: %v, %+v", err, page)
	}
	at := publish(t, s, b.mail("new")).Position
	page, err = s.Since(t.Context(), b.to, inboxLog, known, 1)
	if !errors.Is(err, bus.ErrGap) || texts(page.Messages) != "[new]" || page.Top != at {
		t.Errorf("with something new: %v, %+v", err, page)
	}
	if _, err = s.Since(t.Context(), b.to, inboxLog, at, 1); err != nil {
		t.Errorf("at its end: %v", err)
	}
}

func testInboxTheFirstAckDismissesItElsewhere(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	l := listen(t, s, b.to)
	id := b.send(b.mail("hi"))
	if m := l.next(); m.ID != id || m.Ack != bus.AnyDevice || m.Position.Offset != 1 {
		t.Errorf("got %+v", m)
	}
	b.acked("phone", id)
	if m := l.next(); m.Kind != bus.MessageDismissal || m.ID != id || m.ExcludeConnection != "conn-phone" || !m.Position.IsZero() {
		t.Errorf("got %+v", m)
	}
	b.acked("desk", id) // is known and over: no second dismissal
	b.send(b.mail("next"))
	if m := l.next(); text(m) != "next" {
		t.Errorf("got %+v", m)
	}
	if b.state(id) != bus.StateAcked {
		t.Error("not acked")
	}
}

func testInboxUnknownMessages(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id := b.send(b.mail("x"))
	errs := b.ack("phone", "nope", id, "neither")
	if !errors.Is(errs[0], bus.ErrMessageNotFound) || errs[1] != nil || !errors.Is(errs[2], bus.ErrMessageNotFound) {
		t.Errorf("errors are %v", errs)
	}
	if _, err := s.Delivery(t.Context(), b.to, "nope", true); !errors.Is(err, bus.ErrMessageNotFound) {
		t.Errorf("delivery: %v", err)
	}
	if err := s.Discard(t.Context(), b.to, "nope", bus.EndTTL); !errors.Is(err, bus.ErrMessageNotFound) {
		t.Errorf("discard: %v", err)
	}
	testkit.Check(t, s.MarkSent(t.Context(), []bus.Ack{{To: b.to, ID: "nope", Device: "phone"}}))
	b.is("inbox", b.waiting("phone", false), "[]")
}

func testInboxEachDeviceAcknowledgesForItself(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id := b.send(b.each("x"))
	b.is("phone", b.waiting("phone", true), "[x]")
	b.is("desk", b.waiting("desk", true), "[x]")
	b.acked("phone", id)
	b.is("phone after its ack", b.waiting("phone", true), "[]")
	b.is("desk", b.waiting("desk", true), "[x]")
	if st := b.state(id); st != bus.StateSent {
		t.Errorf("state is %d", st)
	}
	b.acked("desk", id)
	d := b.delivery(id)
	if d.State(time.Now()) != bus.StateAcked || len(d.Devices) != 2 || d.SentCount != 2 || d.AckedCount != 2 || d.Devices[0].Client != "desk" {
		t.Errorf("delivery is %+v", d)
	}
}

func testInboxConcurrentAcks(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	l := listen(t, s, b.to)
	var ids []string
	for i := range 50 {
		ids = append(ids, b.send(b.mail(fmt.Sprint(i))))
		l.next()
	}
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() { b.acked(fmt.Sprint("device", c), ids...) })
	}
	callers.Wait()
	seen := map[string]bool{}
	for range ids {
		m := l.next()
		if m.Kind != bus.MessageDismissal || seen[m.ID] {
			t.Errorf("got %+v", m)
		}
		seen[m.ID] = true
	}
	b.send(b.mail("last"))
	if m := l.next(); text(m) != "last" {
		t.Errorf("more than one dismissal: %+v", m)
	}
}
