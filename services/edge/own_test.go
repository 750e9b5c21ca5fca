package edge_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// grouped is a token of one client in groups.
func (h *fixture) grouped(groups ...string) string {
	h.tb.Helper()
	resp, err := h.auth.IssueToken(h.tb.Context(), &authv1.IssueTokenRequest{Client: "phone", User: "ada", Groups: groups, Ttl: durationpb.New(time.Hour)})
	testkit.Check(h.tb, err)
	return resp.GetToken()
}

// deafOnce is a store whose feeds refuse to subscribe while it is set.
type deafOnce struct {
	bus.Store
	deaf atomic.Bool
}

func (d *deafOnce) NewFeed() bus.Feed { return refusingFeed{d.Store.NewFeed(), d} }

type refusingFeed struct {
	bus.Feed
	of *deafOnce
}

func (f refusingFeed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	if f.of.deaf.Load() {
		return bus.ErrStoreUnavailable
	}
	return f.Feed.Subscribe(ctx, addresses...)
}

// refresh sends a refresh and returns its answer.
func (c *client) refresh(token string) map[string]any {
	c.tb.Helper()
	frame, err := json.Marshal(map[string]any{"id": 8, "refresh": map[string]any{"token": token}})
	testkit.Check(c.tb, err)
	c.send(string(frame))
	return c.read()
}

// A refresh follows the groups that the new token adds, as it leaves those that it takes away.
func TestRefresh_followsWhatTheNewTokenGrants(t *testing.T) {
	store := &deafOnce{Store: memory.New(memory.Config{})}
	h := startOn(t, store, edge.Config{})
	c := h.connected(h.grouped("g1"))
	store.deaf.Store(true)
	e, _ := c.refresh(h.grouped("g2"))["error"].(map[string]any)
	if e["reason"] != "STORE_UNAVAILABLE" || e["retryDelay"] == nil {
		t.Fatalf("the refresh was answered with %v", e)
	}
	c.send(`{"id":2,"subscribe":{"address":"groups/g2"}}`) // the token is the one before
	if e, _ := c.read()["error"].(map[string]any); e["reason"] != "CHANNEL_SUBSCRIBE_DENIED" {
		t.Errorf("subscribe was answered with %v", e)
	}
	h.pub("groups/g1", `"as before"`)
	if m := c.message(); m["data"] != "as before" {
		t.Errorf("got %v", m)
	}
	store.deaf.Store(false)
	r, _ := c.refresh(h.grouped("g1", "g2"))["refreshed"].(map[string]any)
	own, _ := r["own"].([]any)
	if len(own) != 1 || own[0].(map[string]any)["address"] != "groups/g2" {
		t.Fatalf("the refresh was answered with %v", r)
	}
	h.pub("groups/g2", `"for the new group"`)
	if m := c.message(); m["data"] != "for the new group" {
		t.Errorf("got %v", m)
	}
	c.send(`{"id":1,"refresh":{"token":"` + h.grouped("g2") + `"}}`)
	c.unsubscribed("groups/g1")
	if r, ok := c.read()["refreshed"].(map[string]any); !ok || r["own"] != nil {
		t.Errorf("the refresh was answered with %v", r)
	}
	h.pub("groups/g1", `"to nobody"`)
	h.pub("groups/g2", `"to both"`)
	if m := c.message(); m["data"] != "to both" {
		t.Errorf("got %v", m)
	}
}

// The messages of the connection before are what a lost inbox is told by. A user who was away hears of the loss at the next
// connect.
func TestConnect_tellsAnInboxThatWasLost(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.grouped()
	acked := func(data string) {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
			To: "users/ada", Data: []byte(data), Ack: &publishv1.AckPolicy{},
		})
		testkit.Check(t, err)
	}
	connect := func(own string) (*client, map[string]any) {
		c := h.dial("")
		c.send(`{"id":1,"connect":{"token":"` + token + `"` + own + `}}`)
		f, ok := c.read()["connected"].(map[string]any)
		if !ok {
			t.Fatalf("connect was answered with %v", f)
		}
		return c, f
	}
	c, _ := connect(`,"own":[{"address":"users/ada","position":{"epoch":"lost","offset":"3"}}]`)
	if g, ok := c.read()["gap"].(map[string]any); !ok || g["address"] != "users/ada" || g["reason"] != "epoch_changed" {
		t.Errorf("got %v, want the gap of an inbox that is not there any more", g)
	}
	acked(`1`)
	c.message()
	testkit.Check(t, c.ws.Close())
	c, f := connect("")
	own, _ := f["own"].([]any)
	stands := func(o any) bool {
		m := o.(map[string]any)
		p, _ := m["position"].(map[string]any)
		return m["address"] == "users/ada" && p["epoch"] != nil && p["offset"] == "1"
	}
	if !slices.ContainsFunc(own, stands) {
		t.Fatalf("connected has %v", f)
	}
	for _, o := range own {
		if o.(map[string]any)["position"] == nil {
			t.Errorf("connected names %v, of which nothing is kept", o)
		}
	}
	c.message()
	testkit.Check(t, c.ws.Close())
	acked(`2`)
	given, err := json.Marshal(own)
	testkit.Check(t, err)
	c, _ = connect(`,"own":` + string(given))
	for _, want := range []float64{1, 2} { // and no gap
		if m := c.message(); m["data"] != want {
			t.Errorf("got %v, want %v", m, want)
		}
	}
	testkit.Check(t, c.ws.Close())
	c, _ = connect(`,"own":[{"address":"users/ada","position":{"epoch":"lost","offset":"3"}},{"address":"users/bob","position":{"epoch":"x"}}]`)
	if g, ok := c.read()["gap"].(map[string]any); !ok || g["reason"] != "epoch_changed" || g["to"] == nil {
		t.Errorf("got %v, want a gap", g)
	}
	c.message()
}
