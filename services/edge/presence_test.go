package edge_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

const room = "channels/room"

// client connects as a client of that name.
func (h *fixture) client(name string) *client {
	h.tb.Helper()
	all := []authv1.Action{
		authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
	}
	resp, err := h.auth.IssueToken(h.tb.Context(), &authv1.IssueTokenRequest{
		Client: name, User: name, Grants: []*authv1.Grant{{Address: "channels/*", Actions: all}},
	})
	testkit.Check(h.tb, err)
	return h.connected(resp.GetToken())
}

// watch subscribes to the room, and is told who comes and goes.
func (h *fixture) watch(name string) *client {
	h.tb.Helper()
	c := h.client(name)
	c.send(fmt.Sprintf(`{"id":2,"subscribe":{"address":%q,"presence":true}}`, room))
	if f := c.read(); f["subscribed"] == nil {
		h.tb.Fatalf("subscribe was answered with %v", f)
	}
	c.event("JOINED " + name)
	return c
}

// event reads a presence event and compares it with "JOINED client" or "LEFT client reason". It returns when it happened.
func (c *client) event(want string) time.Time {
	c.tb.Helper()
	if len(c.changes) == 0 {
		f := c.read()
		event, ok := f["presenceEvent"].(map[string]any)
		if !ok || event["address"] != room {
			c.tb.Fatalf("not a presence event of the room: %v, want %s", f, want)
		}
		c.changes = event["changes"].([]any)
	}
	e := c.changes[0].(map[string]any)
	c.changes = c.changes[1:]
	m := e["member"].(map[string]any)
	kind := strings.TrimPrefix(e["kind"].(string), "KIND_")
	got := fmt.Sprint(kind, " ", m["client"])
	if reason, ok := e["reason"]; ok {
		got += fmt.Sprint(" ", reason)
	}
	if got != want || m["user"] != m["client"] || m["connection"] == "" {
		c.tb.Fatalf("change is %v, want %s", e, want)
	}
	at, err := time.Parse(time.RFC3339, e["eventTime"].(string))
	testkit.Check(c.tb, err)
	return at
}

// members returns the clients in the room.
func (h *fixture) members() string {
	h.tb.Helper()
	a, err := bus.ParseAddress(room)
	testkit.Check(h.tb, err)
	page, err := h.store.Members(h.tb.Context(), a, "", 1000)
	testkit.Check(h.tb, err)
	var all []string
	for _, m := range page.Members {
		all = append(all, m.Client+"@"+m.Node)
	}
	return strings.Join(all, " ")
}

// twoEdges runs a test with two edges over one store of each kind.
func twoEdges(t *testing.T, grace time.Duration, test func(t *testing.T, a, b *fixture)) {
	t.Helper()
	twoEdgesWith(t, edge.Config{LostGrace: grace}, 0, test)
}

// twoEdgesWith is twoEdges with a configuration, and with presence events that list up to so many members; 0 for the default.
func twoEdgesWith(t *testing.T, cfg edge.Config, listed int, test func(t *testing.T, a, b *fixture)) {
	t.Helper()
	run := func(t *testing.T, store bus.Store) {
		t.Helper()
		cfg := cfg
		cfg.Namespaces.MembersInEvents = listed
		cfg.Node = "a"
		a := startOn(t, store, cfg)
		cfg.Node = "b"
		test(t, a, startOn(t, store, cfg))
	}
	t.Run("memory", func(t *testing.T) { run(t, memory.New(memory.Config{})) })
	t.Run("redis", func(t *testing.T) {
		store, err := redis.Open(redis.Config{URL: redistest.Start(t).URL()}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		t.Cleanup(func() { testkit.Check(t, store.Close()) })
		run(t, store)
	})
}

func TestPresenceEvents_arePerClient(t *testing.T) {
	twoEdges(t, time.Minute, func(t *testing.T, a, b *fixture) {
		watcher := a.watch("watcher")
		plain := b.client("plain")
		plain.subscribe(room)
		watcher.event("JOINED plain")
		bob := b.client("bob")
		bob.subscribe(room)
		watcher.event("JOINED bob")
		other := a.client("bob")
		other.subscribe(room)
		testkit.Eventually(t, "bob is listed twice", func() bool { return strings.Count(a.members(), "bob@") == 2 })
		other.leave()
		testkit.Eventually(t, "bob is listed once", func() bool { return strings.Count(a.members(), "bob@") == 1 })
		start := time.Now()
		bob.send(`{"id":3,"unsubscribe":{"address":"channels/room"}}`)
		at := watcher.event("LEFT bob left")
		if d := time.Since(start); d > time.Second {
			t.Errorf("a clean leave shows after %v", d)
		}
		if d := at.Sub(start); d < -time.Second || d > time.Second {
			t.Errorf("the event says %v after it happened", d)
		}
		bob.subscribe2(room)
		watcher.event("JOINED bob")
		bob.leave()
		watcher.event("LEFT bob left")
		// A client that did not ask is told nothing: the next frame is a message.
		a.pub(room, `"hello"`)
		if m := plain.message(); m["data"] != "hello" {
			t.Errorf("message is %v", m)
		}
		if m := watcher.message(); m["data"] != "hello" {
			t.Errorf("message is %v", m)
		}
	})
}

// subscribe2 subscribes once more, after an answer that was not read yet.
func (c *client) subscribe2(address string) {
	c.tb.Helper()
	if f := c.read(); f["unsubscribed"] == nil {
		c.tb.Fatalf("unsubscribe was answered with %v", f)
	}
	c.subscribe(address)
}

func TestPresenceEvents_needTheGrant(t *testing.T) {
	h := start(t, edge.Config{})
	c := h.connected(h.token("ada", "subscribe channels/*"))
	c.send(`{"id":2,"subscribe":{"address":"channels/room","presence":true}}`)
	if e, _ := c.read()["error"].(map[string]any); e["reason"] != "CHANNEL_PRESENCE_DENIED" {
		t.Errorf("error is %v", e)
	}
	c = h.connected(h.token("ada", everything))
	c.send(`{"id":2,"subscribe":{"address":"channels/live:x","presence":true}}`)
	if e, _ := c.read()["error"].(map[string]any); e["reason"] != "FIELD_INVALID" {
		t.Errorf("error is %v", e)
	}
}

// A token that does not grant presence any more ends the events of that address, and nothing else.
func TestPresenceEvents_endWithTheGrant(t *testing.T) {
	twoEdges(t, time.Minute, func(t *testing.T, a, b *fixture) {
		token := func(actions ...authv1.Action) string {
			resp, err := a.auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "watcher", User: "watcher", Grants: []*authv1.Grant{
				{Address: room, Actions: actions},
				{Address: "channels/lobby", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE}},
			}})
			testkit.Check(t, err)
			return resp.GetToken()
		}
		watcher := a.connected(token(authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE))
		for i, address := range []string{room, "channels/lobby"} {
			watcher.send(fmt.Sprintf(`{"id":%d,"subscribe":{"address":%q,"presence":true}}`, i+2, address))
			if f := watcher.read(); f["subscribed"] == nil {
				t.Fatalf("subscribe was answered with %v", f)
			}
			if f := watcher.read(); f["presenceEvent"] == nil {
				t.Fatalf("got %v", f)
			}
		}
		another := b.watch("another")
		watcher.event("JOINED another")
		watcher.send(fmt.Sprintf(`{"id":4,"refresh":{"token":%q}}`, token(authv1.Action_ACTION_SUBSCRIBE)))
		if f := watcher.read(); f["refreshed"] == nil {
			t.Fatalf("refresh was answered with %v", f)
		}
		b.client("bob").subscribe(room)
		another.event("JOINED bob")
		a.pub(room, `"hello"`)
		if m := watcher.message(); m["data"] != "hello" { // and not that bob came
			t.Errorf("got %v", m)
		}
		b.client("carol").subscribe("channels/lobby")
		if e, _ := watcher.read()["presenceEvent"].(map[string]any); e["address"] != "channels/lobby" {
			t.Errorf("the other address tells %v", e)
		}
		// A subscription of its own cannot get it back.
		watcher.send(`{"id":5,"unsubscribe":{"address":"channels/room"}}`)
		if f := watcher.read(); f["unsubscribed"] == nil {
			t.Fatalf("unsubscribe was answered with %v", f)
		}
		watcher.send(`{"id":6,"subscribe":{"address":"channels/room","presence":true}}`)
		if e, _ := watcher.read()["error"].(map[string]any); e["reason"] != "CHANNEL_PRESENCE_DENIED" {
			t.Errorf("error is %v", e)
		}
	})
}

func TestPresenceEvents_revoked(t *testing.T) {
	twoEdges(t, time.Minute, func(t *testing.T, a, b *fixture) {
		watcher := a.watch("watcher")
		b.client("bob").subscribe(room)
		watcher.event("JOINED bob")
		start := time.Now()
		_, err := a.auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "bob"}})
		testkit.Check(t, err)
		// The client does not answer the close frame, so the connection itself ends later.
		watcher.event("LEFT bob left")
		if d := time.Since(start); d > time.Second {
			t.Errorf("it shows after %v", d)
		}
	})
}

func TestPresenceEvents_lostConnection(t *testing.T) {
	const grace = 700 * time.Millisecond
	twoEdges(t, grace, func(t *testing.T, a, b *fixture) {
		watcher := a.watch("watcher")
		bob := a.client("bob")
		bob.subscribe(room)
		watcher.event("JOINED bob")
		testkit.Check(t, bob.ws.NetConn().Close())
		again := b.client("bob")
		again.subscribe(room)
		testkit.Eventually(t, "watcher and bob are listed", func() bool { return a.members() == "watcher@a bob@b" || a.members() == "bob@b watcher@a" })
		lost := time.Now()
		testkit.Check(t, again.ws.NetConn().Close())
		at := watcher.event("LEFT bob lost") // the first event since bob joined: he did not leave when he moved
		if d := time.Since(lost); d < grace-100*time.Millisecond || d > grace+3*time.Second {
			t.Errorf("it shows after %v", d)
		}
		if d := at.Sub(lost); d < -100*time.Millisecond || d > grace-100*time.Millisecond {
			t.Errorf("the event is %v after the loss", d)
		}
		if got := b.members(); got != "watcher@a" {
			t.Errorf("members are %s", got)
		}
	})
}

func TestPresenceEvents_drain(t *testing.T) {
	const grace = 2 * time.Second
	twoEdges(t, grace, func(t *testing.T, a, b *fixture) {
		watcher := b.watch("watcher")
		for _, name := range []string{"bob", "carol"} {
			c := a.client(name)
			c.subscribe(room)
			watcher.event("JOINED " + name)
			t.Cleanup(func() { _ = c.ws.Close() })
			go func() { // answers the close frame
				for {
					if _, _, err := c.ws.ReadMessage(); err != nil {
						_ = c.ws.Close()
						return
					}
				}
			}()
		}
		a.stop()
		b.client("bob").subscribe(room)
		watcher.event("LEFT carol lost")
		testkit.Eventually(t, "bob is listed once", func() bool { return strings.Count(b.members(), "bob@") == 1 })
		b.client("dave").subscribe(room)
		watcher.event("JOINED dave")
	})
}

// clock is the time of a store, set by the test.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func TestPresenceEvents_nodeDies(t *testing.T) {
	var c clock
	store := memory.New(memory.Config{Now: c.Now})
	a, b := startOn(t, store, edge.Config{Node: "a"}), startOn(t, store, edge.Config{Node: "b"})
	for _, name := range []string{"a", "b"} {
		testkit.Check(t, store.Beat(t.Context(), bus.Node{Life: name}))
	}
	heard := c.Now()
	watcher := b.watch("watcher")
	a.client("bob").subscribe(room)
	watcher.event("JOINED bob")
	a.client("carol").subscribe(room)
	watcher.event("JOINED carol")
	b.client("carol").subscribe(room)
	testkit.Eventually(t, "carol is listed twice", func() bool { return strings.Count(b.members(), "carol@") == 2 })
	// Node a falls silent; b does not.
	c.ahead.Store(int64(bus.NodeTTL) - int64(time.Second/2))
	testkit.Check(t, store.Beat(t.Context(), bus.Node{Life: "b"}))
	died := time.Now()
	at := watcher.event("LEFT bob node_lost")
	if d := time.Since(died); d > 3*time.Second {
		t.Errorf("it shows %v late", d)
	}
	if d := at.Sub(heard); d < -time.Second || d > time.Second {
		t.Errorf("the event is %v after the node was last heard of", d)
	}
	testkit.Eventually(t, "nobody is listed at a", func() bool { return strings.Count(b.members(), "@a") == 0 })
	b.client("dave").subscribe(room)
	watcher.event("JOINED dave") // and not that carol left
}

// One client on both edges at once comes once and leaves once.
func TestPresenceEvents_twoSessionsOfOneClient(t *testing.T) {
	twoEdges(t, time.Minute, func(t *testing.T, a, b *fixture) {
		watcher := a.watch("watcher")
		for range 40 {
			for _, node := range []string{"a", "b"} { // the rounds take longer than a silent node lives
				testkit.Check(t, a.store.Beat(t.Context(), bus.Node{Life: node}))
			}
			one, two := a.client("bob"), b.client("bob")
			both := func(f func(c *client)) {
				var g sync.WaitGroup
				g.Go(func() { f(one) })
				g.Go(func() { f(two) })
				g.Wait()
			}
			both(func(c *client) {
				if err := c.ws.WriteMessage(websocket.TextMessage, []byte(`{"id":2,"subscribe":{"address":"channels/room"}}`)); err != nil {
					t.Error(err)
				}
			})
			watcher.event("JOINED bob")
			testkit.Eventually(t, "bob is listed twice", func() bool { return strings.Count(b.members(), "bob@") == 2 })
			both(func(c *client) { c.leave() })
			watcher.event("LEFT bob left")
		}
		if got := a.members(); got != "watcher@a" {
			t.Errorf("members are %s", got)
		}
	})
}

// What the store forgot, or took for dead, is put back by the edge that has it.
func TestPresenceEvents_theStoreForgets(t *testing.T) {
	server := redistest.Start(t)
	store, err := redis.Open(redis.Config{URL: server.URL()}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, store.Close()) })
	h := startOn(t, store, edge.Config{Node: "a"})
	watcher := h.watch("watcher")
	h.client("bob").subscribe(room)
	watcher.event("JOINED bob")
	gone := h.client("gone")
	gone.subscribe(room)
	watcher.event("JOINED gone")
	out, err := server.CLI("flushall")
	if err != nil {
		t.Fatal(out, err)
	}
	gone.leave()
	testkit.Eventually(t, "both are connected", func() bool { return h.edge.Connections() == 2 })
	testkit.Eventually(t, "both are listed at a", func() bool { return strings.Count(h.members(), "@a") == 2 })
	if got := h.members(); strings.Contains(got, "gone") {
		t.Errorf("members are %s", got)
	}
}
