package bustest

import (
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func (b *mailbox) deny(device, why string, ids ...string) {
	b.Helper()
	list := make([]bus.Denial, len(ids))
	for i, id := range ids {
		list[i] = bus.Denial{To: b.to, ID: id, Device: device, Why: why}
	}
	testkit.Check(b, b.s.MarkDenied(b.Context(), list))
}

// device returns what became of a message on a device; nil when nothing is known.
func (b *mailbox) device(id, client string) *bus.Device {
	b.Helper()
	d := b.delivery(id)
	for i := range d.Devices {
		if d.Devices[i].Client == client {
			return &d.Devices[i]
		}
	}
	return nil
}

func (b *mailbox) marked(id string, devices ...string) {
	b.Helper()
	var sent []bus.Ack
	for _, device := range devices {
		sent = append(sent, bus.Ack{To: b.to, ID: id, Device: device})
	}
	testkit.Check(b, b.s.MarkSent(b.Context(), sent))
}

func testDenied(t *testing.T, s bus.Store) {
	t.Run("a denial is final for the device", func(t *testing.T) { testDeniedADenialIsFinalForTheDevice(t, s) })
	t.Run("as a whole it is denied when nobody was given it by the deadline", func(t *testing.T) { testDeniedAsAWholeItIsDeniedWhenNobodyWas(t, s) })
	t.Run("who had been given it may acknowledge it", func(t *testing.T) { testDeniedWhoHadBeenGivenItMayAcknowledgeIt(t, s) })
	t.Run("who watches is told", func(t *testing.T) { testDeniedWhoWatchesIsTold(t, s) })
	t.Run("a part of an inbox", func(t *testing.T) { testDeniedAPartOfAnInbox(t, s) })
}

func testDeniedADenialIsFinalForTheDevice(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	first, second := b.send(b.mail("1")), b.send(b.mail("2"))
	b.deny("phone", "not yours 0", first)
	b.is("phone", b.waiting("phone", true), "[2]")
	b.is("desk", b.waiting("desk", false), "[1 2]")
	b.is("everybody", b.waiting("", false), "[1 2]")
	b.deny("phone", "another reason", first)
	b.marked(first, "phone")
	b.acked("phone", first)
	d := b.delivery(first)
	v := b.device(first, "phone")
	if v == nil || v.Denied.IsZero() || !v.Sent.IsZero() || !v.Acked.IsZero() || v.Why != "not yours 0" || len(d.Devices) != 1 {
		t.Fatalf("delivery is %+v", d)
	}
	if d.DeniedCount != 1 || d.SentCount != 0 || d.AckedCount != 0 || d.DeniedWhy != "not yours 0" || d.Deliveries != 0 {
		t.Errorf("delivery is %+v", d)
	}
	for _, at := range []time.Time{time.Now(), d.Deadline, d.Expires} {
		if st := d.DeviceState(*v, at); st != bus.StateDenied {
			t.Errorf("the device's state at %v is %d", at, st)
		}
	}
	b.acked("desk", first, second) // the message was never ended by the ack of a device that was denied it
	if b.state(first) != bus.StateAcked {
		t.Errorf("delivery is %+v", b.delivery(first))
	}
	b.deny("tablet", "late", first, second, "nope")
	if v := b.device(first, "tablet"); v != nil {
		t.Errorf("denied after its end: %+v", v)
	}
}

func testDeniedAsAWholeItIsDeniedWhenNobodyWas(t *testing.T, s bus.Store) {
	for _, each := range []bool{false, true} {
		b := newMailbox(t, s)
		p := b.mail("x")
		if each {
			p = b.each("x")
		}
		id := b.send(p)
		b.deny("phone", "no", id)
		b.deny("desk", "nor you", id)
		d := b.delivery(id)
		for at, want := range map[time.Time]bus.DeliveryState{
			d.Deadline.Add(-time.Millisecond): bus.StatePending, d.Deadline: bus.StateDenied, d.Expires: bus.StateExpired,
		} {
			if st := d.State(at); st != want {
				t.Errorf("at %v the state is %d, want %d", at, st, want)
			}
		}
		if d.DeniedWhy != "nor you" || bus.StateDenied.Final() {
			t.Errorf("delivery is %+v", d)
		}
		page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Limit: 10})
		testkit.Check(t, err)
		if w := page.Messages[0].Delivery; w.DeniedCount != 2 || w.DeniedWhy != "nor you" {
			t.Errorf("the inbox says %+v", w)
		}
		b.is("a third device is given it", b.waiting("tablet", true), "[x]")
		d = b.delivery(id)
		if st := d.State(d.Deadline); st != bus.StateStored {
			t.Errorf("then the state is %d", st)
		}
		b.acked("tablet", id)
		if st := b.state(id); st != bus.StateAcked {
			t.Errorf("with its ack the state is %d", st)
		}
	}
}

func testDeniedWhoHadBeenGivenItMayAcknowledgeIt(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id, other := b.send(b.mail("x")), b.send(b.mail("y"))
	b.marked(id, "phone", "desk")
	b.acked("desk", other)
	b.deny("phone", "not any more", id)
	b.deny("desk", "had been acknowledged", other)
	b.is("phone", b.waiting("phone", true), "[]")
	v := b.device(id, "phone")
	if v == nil || v.Sent.IsZero() || v.Denied.IsZero() || b.delivery(id).SentCount != 2 {
		t.Fatalf("the device is %+v", v)
	}
	if d := b.delivery(id); d.State(d.Deadline) != bus.StateStored {
		t.Errorf("somebody was given it: %+v", d)
	}
	b.acked("phone", id)
	d := b.delivery(id)
	v = b.device(id, "phone")
	if d.State(time.Now()) != bus.StateAcked || d.AckedCount != 1 || d.DeniedCount != 0 || v.Acked.IsZero() || !v.Denied.IsZero() || v.Why != "" {
		t.Errorf("delivery is %+v", d)
	}
	if v := b.device(other, "desk"); v.Acked.IsZero() || !v.Denied.IsZero() {
		t.Errorf("the ack was undone: %+v", v)
	}
}

func testDeniedWhoWatchesIsTold(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	id := b.send(b.mail("x"))
	l := listen(t, s, b.to)
	_, err := s.Delivery(t.Context(), b.to, id, true)
	testkit.Check(t, err)
	b.deny("phone", strings.Repeat("é", 300), id)
	if m := l.next(); m.Kind != bus.MessageReceipt || m.ID != id {
		t.Errorf("got %+v", m)
	}
	if v := b.device(id, "phone"); v == nil || v.Why != strings.Repeat("é", 128) {
		t.Errorf("the device is %+v", v)
	}
}

func testDeniedAPartOfAnInbox(t *testing.T, s bus.Store) {
	b := newMailbox(t, s)
	for _, text := range []string{"1", "2", "3", "4"} {
		b.send(b.mail(text))
	}
	page, err := s.Pending(t.Context(), b.to, bus.PendingQuery{Device: "phone", After: 1, Until: 3, Limit: 10, Deliver: true})
	testkit.Check(t, err)
	var got []*bus.Message
	for _, w := range page.Messages {
		got = append(got, w.Message)
	}
	b.is("between", texts(got), "[2 3]")
}
