package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/behind"
)

// While the store does not answer, acks wait up to a bound; beyond it they are refused with a hint, and the connection lives. What was
// taken is carried out when the store is back.
func TestAcks_waitUpToABound(t *testing.T) {
	closed, goOn := gate()
	h := startOn(t, &gated{Store: memory.New(memory.Config{}), ack: closed}, edge.Config{CommandsPerSecond: 1000})
	t.Cleanup(goOn)
	c := h.device("phone")
	const each = 1000
	ids := `"` + strings.Repeat(`m","`, each-1) + `m"`
	taken := 0
	for refused := false; !refused; taken++ {
		if taken > 2*behind.AckLimitOf/each {
			t.Fatalf("%d acks wait", taken*each)
		}
		c.send(fmt.Sprintf(`{"id":%d,"ack":{"address":"users/ada","ids":[%s]}}`, taken+10, ids))
		c.send(`{"id":9,"ping":{}}`)
		f := c.read()
		if e, ok := f["error"].(map[string]any); ok {
			refused = true
			if e["reason"] != "STORE_UNAVAILABLE" || e["retryDelay"] == nil || f["id"] != float64(taken+10) {
				t.Errorf("refused with %v", f)
			}
			taken--
			f = c.read()
		}
		if f["pong"] == nil {
			t.Fatalf("ping was answered with %v", f)
		}
	}
	if acks, _, _ := h.edge.Waiting(); acks > behind.AckLimitOf || acks < behind.AckLimitOf-each {
		t.Errorf("%d acks wait", acks)
	}
	c.send(fmt.Sprintf(`{"ack":{"address":"users/ada","ids":[%s]}}`, ids)) // refused too, though it asks for no answer
	if e, ok := c.read()["error"].(map[string]any); !ok || e["reason"] != "STORE_UNAVAILABLE" {
		t.Errorf("without an id: %v", e)
	}
	goOn()
	for i := range taken {
		if f := c.read(); f["acked"] == nil || f["id"] != float64(i+10) {
			t.Fatalf("ack %d was answered with %v", i, f)
		}
	}
	testkit.Eventually(t, "no ack waits", func() bool { acks, _, _ := h.edge.Waiting(); return acks == 0 })
	c.send(`{"id":5,"ack":{"address":"users/ada","ids":["m"]}}`)
	if f := c.read(); f["acked"] == nil {
		t.Errorf("got %v", f)
	}
}

// While the store does not answer, a client that subscribes and unsubscribes in turns takes one place in the queue of rosters.
func TestRoster_waitsInOnePlace(t *testing.T) {
	closed, goOn := gate()
	h := startOn(t, &gated{Store: memory.New(memory.Config{}), join: closed}, edge.Config{CommandsPerSecond: 1000})
	t.Cleanup(goOn)
	c := h.connected(h.token("ada", everything))
	for i := range 90 {
		c.send(fmt.Sprintf(`{"id":%d,"subscribe":{"address":"channels/hall"}}`, i+10))
		if f := c.read(); f["subscribed"] == nil {
			t.Fatalf("got %v", f)
		}
		c.send(`{"id":3,"unsubscribe":{"address":"channels/hall"}}`)
		if f := c.read(); f["unsubscribed"] == nil {
			t.Fatalf("got %v", f)
		}
	}
	if _, _, rosters := h.edge.Waiting(); rosters > 2 {
		t.Errorf("%d changes wait", rosters)
	}
	goOn()
	c.send(`{"id":4,"presence":{"address":"channels/hall"}}`)
	c.read()
	testkit.Eventually(t, "no change of presence waits", func() bool { _, _, rosters := h.edge.Waiting(); return rosters == 0 })
}
