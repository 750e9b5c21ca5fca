package publish_test

import (
	"fmt"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

func (h *fixture) join(channel, client string) {
	h.tb.Helper()
	a, err := bus.ParseAddress(channel)
	testkit.Check(h.tb, err)
	testkit.Check(h.tb, h.store.Join(h.tb.Context(), a, bus.Member{Connection: "conn-" + client, Client: client, User: "u", Node: "n", Joined: time.Now()}))
}

func (h *fixture) leave(channel, client string) {
	h.tb.Helper()
	a, err := bus.ParseAddress(channel)
	testkit.Check(h.tb, err)
	testkit.Check(h.tb, h.store.Leave(h.tb.Context(), a, "conn-"+client))
}

// happened says what a presence event tells.
func happened(tb testing.TB, e *publishv1.PresenceEvent) string {
	tb.Helper()
	if e == nil {
		tb.Fatal("not a presence event")
	}
	if len(e.GetChanges()) != 1 {
		tb.Fatalf("event is %v", e)
	}
	c := e.GetChanges()[0]
	if c.GetMember().GetConnection() != "conn-"+c.GetMember().GetClient() || c.GetMember().GetUser() != "u" || c.GetEventTime() == nil {
		tb.Errorf("event is %v", e)
	}
	return fmt.Sprint(e.GetAddress(), " ", c.GetKind(), " ", c.GetMember().GetClient(), " ", c.GetReason())
}

func TestConsume_presence(t *testing.T) {
	h := start(t, publish.Config{})
	may := grant("channels/*", authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE)
	watching, _ := h.consume(h.as("c1", may), &publishv1.ConsumeRequest{Address: "channels/room", Presence: true})
	plain, _ := h.consume(h.as("c2", may), &publishv1.ConsumeRequest{Address: "channels/room"})
	h.join("channels/room", "bob")
	if got := happened(t, watching.next().GetPresenceEvent()); got != "channels/room KIND_JOINED bob " {
		t.Errorf("got %s", got)
	}
	h.leave("channels/room", "bob")
	if got := happened(t, watching.next().GetPresenceEvent()); got != "channels/room KIND_LEFT bob left" {
		t.Errorf("got %s", got)
	}
	h.pub("channels/room", `1`)
	for _, c := range []*consumer{watching, plain} { // a subscriber that did not ask is told nothing
		if m := c.message(); string(m.GetData()) != "1" {
			t.Errorf("got %v", m)
		}
	}
}

func TestConsume_presenceIsRefused(t *testing.T) {
	h := start(t, publish.Config{})
	all := []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE}
	for name, tc := range map[string]struct {
		address string
		actions []authv1.Action
		want    *bus.Error
	}{
		"not granted": {"channels/room", all[:1], bus.ErrPresenceDenied}, "not listed": {"channels/live:room", all, bus.ErrFieldInvalid},
		"own address": {"users/u-c1", all, bus.ErrPresenceDenied}, // the grant is of channels
	} {
		t.Run(name, func(t *testing.T) {
			st, err := h.publish.Consume(h.as("c1", grant("channels/*", tc.actions...)), &publishv1.ConsumeRequest{Address: tc.address, Presence: true})
			testkit.Check(t, err)
			_, err = st.Recv()
			refused(t, err, tc.want)
		})
	}
}

// Presence is asked for by address, and a refusal ends the command alone.
func TestSubscribe_presence(t *testing.T) {
	h := start(t, publish.Config{})
	st, err := h.publish.Subscribe(h.as("c1", grant("channels/a", authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE), grant("channels/b", authv1.Action_ACTION_SUBSCRIBE)))
	testkit.Check(t, err)
	do := func(address string, presence bool) *publishv1.SubscribeResponse {
		t.Helper()
		testkit.Check(t, st.Send(&publishv1.SubscribeRequest{Sequence: 1, Command: &publishv1.SubscribeRequest_Subscribe{
			Subscribe: &publishv1.ConsumeRequest{Address: address, Presence: presence},
		}}))
		r, err := st.Recv()
		testkit.Check(t, err)
		return r
	}
	if r := do("channels/a", true); r.GetSubscribed() == nil {
		t.Fatalf("got %v", r)
	}
	if r := do("channels/b", true); r.GetError().GetReason() != "CHANNEL_PRESENCE_DENIED" {
		t.Errorf("got %v", r)
	}
	if r := do("channels/b", false); r.GetSubscribed() == nil {
		t.Fatalf("got %v", r)
	}
	h.join("channels/b", "eve")
	h.join("channels/a", "bob")
	r, err := st.Recv()
	testkit.Check(t, err)
	if got := happened(t, r.GetPresenceEvent()); got != "channels/a KIND_JOINED bob " || r.GetSequence() != 0 {
		t.Errorf("got %s", got)
	}
	testkit.Check(t, st.CloseSend())
}

// A stream that is too slow for its queue may have missed who came: it is told, with a gap that no message is in.
func TestConsume_presenceThatIsMissedIsTold(t *testing.T) {
	h := start(t, publish.Config{StreamQueue: 1})
	c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/room", Presence: true})
	const n = 2000
	for i := range n {
		h.join("channels/room", fmt.Sprint(i))
	}
	h.pub("channels/room", `"last"`)
	joined, gaps := 0, 0
	for last := false; !last || joined < n && gaps == 0; {
		switch r := c.next(); {
		case r.GetPresenceEvent() != nil:
			joined += len(r.GetPresenceEvent().GetChanges()) + int(r.GetPresenceEvent().GetUnlisted())
		case r.GetGap() != nil:
			if gaps++; r.GetGap().GetAfter().GetOffset() != r.GetGap().GetTo().GetOffset() || r.GetGap().GetTo().GetEpoch() == "" {
				t.Fatalf("gap is %v", r.GetGap())
			}
		case r.GetMessage() != nil:
			last = true
		}
	}
	if joined+gaps == 0 || joined < n && gaps == 0 {
		t.Errorf("%d of %d events, %d gaps", joined, n, gaps)
	}
	t.Logf("%d of %d events, %d gaps", joined, n, gaps)
}
