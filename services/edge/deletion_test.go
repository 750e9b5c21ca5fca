package edge_test

import (
	"context"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

func (h *fixture) created(name string) bus.Address {
	h.tb.Helper()
	a, err := bus.ParseAddress(name)
	testkit.Check(h.tb, err)
	testkit.Check(h.tb, h.store.CreateChannel(h.tb.Context(), bus.Channel{Address: a}, 0))
	return a
}

func (c *client) unsubscribed(address string) {
	c.tb.Helper()
	f := c.read()
	if u, ok := f["unsubscribed"].(map[string]any); !ok || u["address"] != address || f["id"] != nil {
		c.tb.Fatalf("got %v, want an event that %s is not followed any more", f, address)
	}
}

// A deleted channel ends its subscriptions on every edge, after what came before, and may be followed again.
func TestDeletion_endsSubscriptionsOnEveryEdge(t *testing.T) {
	h := start(t, edge.Config{})
	_, server := h.another(h.store, h.conns, edge.Config{})
	a := h.created("channels/gone")
	token := h.token("ada", everything)
	clients := []*client{h.connected(token), h.at(server).connected(token)}
	for _, c := range clients {
		c.subscribe(a.String())
		c.subscribe("channels/stays")
		c.subscribe("channels/gone/topics/own")
	}
	h.pub(a.String(), `"last"`)
	for _, c := range clients {
		if f := c.read(); f["message"] == nil {
			t.Fatalf("got %v", f)
		}
	}
	testkit.Eventually(t, "both are members", func() bool { p, err := h.store.Members(t.Context(), a, "", 10); return err == nil && p.Total == 2 })
	testkit.Check(t, h.store.DeleteChannel(t.Context(), a))
	for _, c := range clients {
		c.unsubscribed(a.String())
	}
	testkit.Eventually(t, "no member is left", func() bool { p, err := h.store.Members(t.Context(), a, "", 10); return err == nil && p.Total == 0 })
	h.pub(a.String(), `"of another channel"`)
	h.pub("channels/stays", `"here"`)
	h.pub("channels/gone/topics/own", `"there"`)
	for _, c := range clients {
		for range 2 {
			if m, ok := c.read()["message"].(map[string]any); !ok || m["to"] == a.String() {
				t.Errorf("got %v", m)
			}
		}
		c.send(`{"id":7,"unsubscribe":{"address":"channels/gone"}}`)
		if f := c.read(); f["error"] == nil {
			t.Errorf("what has ended was ended again: %v", f)
		}
		c.subscribe(a.String())
	}
	h.pub(a.String(), `"again"`)
	for _, c := range clients {
		if f := c.read(); f["message"] == nil {
			t.Errorf("got %v", f)
		}
	}
}

// slowTops lets somebody wait for the position of an address.
type slowTops struct {
	bus.Store
	asked, letGo chan struct{}
	address      bus.Address
}

func (s *slowTops) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	for _, a := range addresses {
		if a == s.address {
			s.asked <- struct{}{}
			<-s.letGo
		}
	}
	return s.Store.Tops(ctx, addresses)
}

// A channel that is deleted while a subscription begins is told after the beginning, not before it.
func TestDeletion_whileASubscriptionBegins(t *testing.T) {
	a, err := bus.ParseAddress("channels/brief")
	testkit.Check(t, err)
	store := &slowTops{Store: memory.New(memory.Config{}), asked: make(chan struct{}), letGo: make(chan struct{}), address: a}
	h := startOn(t, store, edge.Config{})
	h.created(a.String())
	c := h.connected(h.token("ada", everything))
	c.send(`{"id":2,"subscribe":{"address":"channels/brief"}}`)
	<-store.asked
	testkit.Check(t, h.store.DeleteChannel(t.Context(), a))
	store.letGo <- struct{}{}
	if f := c.read(); f["subscribed"] == nil {
		t.Fatalf("subscribe was answered with %v", f)
	}
	// Either way it is told: the announcement may come a little later than the answer.
	c.unsubscribed(a.String())
}

// A client that is behind is told too, and the connection goes on.
func TestDeletion_whileBehind(t *testing.T) {
	h, slow := flood(t, "channels/kept:flood", flooded, nil)
	a, err := bus.ParseAddress("channels/kept:flood")
	testkit.Check(t, err)
	testkit.Check(t, h.store.CreateChannel(t.Context(), bus.Channel{Address: a}, 0))
	testkit.Check(t, h.store.DeleteChannel(t.Context(), a))
	for slow.read().GetUnsubscribed().GetAddress() == "" {
	}
	h.pub("users/ada", `"still here"`)
	for slow.read().GetMessage().GetTo() != "users/ada" {
	}
}
