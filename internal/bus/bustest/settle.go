package bustest

import (
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

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
