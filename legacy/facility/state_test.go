package facility_test

import (
	"strings"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
)

// Sockets that ask for it share an object on the server; others, and older programs, know nothing of it.
func TestState(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		const query = "game?state&subscribe-broadcast&publish-broadcast"
		a, b := h.dial(t, 0, query, nil), h.dial(t, 1, query, nil)
		plain := h.dial(t, 1, "game?subscribe-broadcast&publish-broadcast&echo", nil)
		a.send(`{"trunkline-state":{}}`)
		a.gets(`{"trunkline-state":{"revision":0,"value":{}}}`)
		a.send(` { "trunkline-state" : {"merge":{"score":{"home":1}}}}`)
		a.getsAny(`{"trunkline-state":{"revision":1,"value":{"score":{"home":1}}}}`, `{"trunkline-state":{"revision":1,"merge":{"score":{"home":1}}}}`)
		b.gets(`{"trunkline-state":{"revision":1,"merge":{"score":{"home":1}}}}`)
		b.send(`{"trunkline-state":{"merge":{"pause":true},"revision":7}}`)
		if e := b.next(); !strings.Contains(e.data, `"error":"REVISION_MISMATCH"`) {
			t.Errorf("got %s", e.data)
		}
		b.send(`{"trunkline-state":{"merge":{"score":2},"revision":1}}`)
		b.getsAny(`{"trunkline-state":{"revision":2,"value":{"score":2}}}`, `{"trunkline-state":{"revision":2,"merge":{"score":2}}}`)
		a.gets(`{"trunkline-state":{"revision":2,"merge":{"score":2}}}`)
		_, err := publishv1.NewStateServiceClient(h.conn).UpdateState(soon(t), &publishv1.UpdateStateRequest{
			Address: "broadcast/topics/game", Data: []byte(`{"score":null}`),
		})
		testkit.Check(t, err)
		a.gets(`{"trunkline-state":{"revision":3,"merge":{"score":null}}}`)
		b.gets(`{"trunkline-state":{"revision":3,"merge":{"score":null}}}`)
		// Others hear messages alone, and may send frames that look like it.
		plain.send(`{"trunkline-state":{}}`)
		plain.gets(`{"trunkline-state":{}}`)
		a.gets(`{"trunkline-state":{}}`)
		if h.old != nil && h.stored(t, "broadcast:game") != `{"trunkline-state":{}}` {
			t.Errorf("%q is stored", h.stored(t, "broadcast:game"))
		}
		for _, frame := range []string{`{"trunkline-state":7}`, `{"trunkline-state"`, `{"trunkline-state":{"merge":[]}}`} {
			a.send(frame)
			if e := a.next(); !strings.Contains(e.data, `"error":`) {
				t.Errorf("%s: %s", frame, e.data)
			}
		}
		none := h.dial(t, 0, "game?state", nil)
		none.send(`{"trunkline-state":{"merge":{}}}`)
		if e := none.next(); !strings.Contains(e.data, "CHANNEL_PUBLISH_DENIED") {
			t.Errorf("got %s", e.data)
		}
	})
}

// A value that cannot be put into a frame is told as an error. A client that asked for it must not wait for ever.
func TestState_tellsWhatCannotBeEncoded(t *testing.T) {
	if got, want := string(facility.StateFrame(7, []byte(`{"a":1}`))), `{"trunkline-state":{"revision":7,"value":{"a":1}}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(facility.StateFrame(7, []byte(`{"a":`))); !strings.Contains(got, `"revision":7,"error":"INTERNAL"`) {
		t.Errorf("a value that is no JSON: got %q", got)
	}
}
