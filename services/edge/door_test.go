package edge_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// A client names where its dead letters go. Nothing gets there that the client could not have published there. What it could
// have published is buried under its name when nobody acknowledged it.
func TestDeadLetter_isCheckedForTheSender(t *testing.T) {
	h := start(t, edge.Config{Authorizer: doorman{"channels/kept:forbidden": true}})
	mail := func(c *client, id int, to string) map[string]any {
		t.Helper()
		c.send(fmt.Sprintf(`{"id":%d,"publish":{"to":"users/mallory","data":{"n":%d},"ack":{"maxDeliveries":1,"deadLetter":%q}}}`, id, id, to))
		for {
			if f := c.read(); f["message"] == nil {
				return f
			}
		}
	}
	mallory := h.connected(h.token("mallory", "publish users/mallory", "publish channels/kept:own", "publish channels/kept:forbidden"))
	for id, to := range []string{"channels/kept:board", "channels/kept:forbidden"} {
		if e, _ := mail(mallory, id+2, to)["error"].(map[string]any); e["reason"] != "CHANNEL_PUBLISH_DENIED" {
			t.Errorf("dead letters to %s: %v", to, e)
		}
	}
	if stats, err := h.store.InboxStats(t.Context(), named(t, "users/mallory")); err != nil || stats.Count != 0 {
		t.Errorf("what was refused is in the inbox: %+v, %v", stats, err)
	}
	if f := mail(mallory, 9, "channels/kept:own"); f["published"] == nil {
		t.Fatalf("a dead letter of one's own: %v", f)
	}
	mallory.leave()
	token := h.token("mallory")
	var page bus.Page
	testkit.Eventually(t, "the dead letter is buried", func() (found bool) {
		h.connected(token).leave() // deliveries are counted behind them; the first connect after that finds it dead
		var err error
		page, err = h.store.Latest(t.Context(), named(t, "channels/kept:own"), bus.Retention{}, 0, 10)
		testkit.Check(t, err)
		return len(page.Messages) > 0
	})
	m := page.Messages[0]
	if string(m.Data) != `{"n":9}` || m.From.User != "mallory" || m.Attributes[bus.DeadLetterOf] != "users/mallory" {
		t.Errorf("buried is %+v", m)
	}
}

func named(tb testing.TB, name string) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress(name)
	testkit.Check(tb, err)
	return a
}
