package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// rooms starts a system that speaks the protocol, and returns its listeners.
func rooms(t *testing.T, opts ...apptest.Option) []string {
	t.Helper()
	h := apptest.Start(t, append(opts, apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"rooms"}, true }))...)
	var all []string
	for _, p := range h.Processes {
		if at := p.Legacy["legacy.rooms.listen"]; at != "" {
			all = append(all, at)
		}
	}
	return append(all, all...)
}

// Pages of the older message server write to each other, and read what they missed.
func TestRoomsPage_inChromium(t *testing.T) {
	needs(t, modules, chromium)
	for name, store := range map[string]string{"memory": "", "redis": redistest.Start(t).URL()} {
		t.Run(name, func(t *testing.T) { script(t, nil, "node", "testdata/rooms.mjs", rooms(t, apptest.Redis(store))[0]) })
	}
}

// So do its programs, on two edges too.
func TestRoomsClient_inNode(t *testing.T) {
	for name, opts := range map[string][]apptest.Option{
		"memory": nil, "redis": {apptest.Redis(redistest.Start(t).URL()), apptest.Split(2)},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, nil, "node", append([]string{"--experimental-websocket", "testdata/rooms_client.mjs"}, rooms(t, opts...)[:2]...)...)
		})
	}
}

// roomsClient is a connection of the older message server.
type roomsClient struct {
	tb testing.TB
	ws *websocket.Conn
}

type roomsFrame struct {
	ID   string
	Body struct {
		Command string
		Data    json.RawMessage
	}
}

func roomsDial(tb testing.TB, address, id string) *roomsClient {
	tb.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(tb.Context(), "ws://"+address+"/ws/1", nil)
	testkit.Check(tb, err)
	_ = resp.Body.Close()
	tb.Cleanup(func() { _ = ws.Close() })
	c := &roomsClient{tb, ws}
	c.send("setID", id)
	return c
}

func (c *roomsClient) send(command string, data any) {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.WriteJSON(map[string]any{"command": command, "data": data}))
}

func (c *roomsClient) get(command string) roomsFrame {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.SetReadDeadline(time.Now().Add(30*time.Second)))
	for {
		var f roomsFrame
		testkit.Check(c.tb, c.ws.ReadJSON(&f))
		if f.Body.Command == command {
			return f
		}
	}
}

// An edge that is killed takes its users with it. Nothing that was not acknowledged is lost by that, nor by a Redis that is
// killed and comes back.
func TestRooms_outlivesCrashes(t *testing.T) {
	at := [2]string{freePort(t), freePort(t)}
	t.Setenv("TRUNKLINE_LEGACY_DIALECTS", "rooms")
	t.Setenv("TRUNKLINE_LEGACY_OPEN", "true")
	s := startSystem(t, func(s *system) {
		for i := range s.edges {
			s.eachArgs[i] = []string{"--set", "legacy.rooms.listen=" + at[i]}
		}
	})
	const users, messages = 5, 50
	bob := roomsDial(t, at[1], "bob")
	bob.get("newUser")
	for i := range users {
		roomsDial(t, at[0], fmt.Sprint("user-", i))
		bob.get("newUser")
	}
	ann := roomsDial(t, at[0], "ann")
	bob.get("newUser")
	for i := range messages {
		ann.send("sendMessage", map[string]any{"to": "eve", "n": i})
		bob.get("sendMessage")
	}
	if status, body := get("http://" + at[0] + "/roomid"); status != http.StatusOK || body != "1" {
		t.Errorf("/roomid: %d %s", status, body)
	}
	bob.send("sendMessage", map[string]any{"to": "ann", "n": "seen, and not acknowledged"})
	first := ann.get("sendMessage")
	for string(first.Body.Data) != `{"n":"seen, and not acknowledged","to":"ann"}` {
		first = ann.get("sendMessage")
	}

	_ = s.edges[0].end(syscall.SIGKILL)
	killed := time.Now()
	for range users + 1 {
		bob.get("userDisconnected")
	}
	t.Logf("the users of a killed edge were told to have gone %s later", time.Since(killed).Round(time.Millisecond))

	s.redis.Kill9()
	s.redis.Restart()
	s.edges[0].start()
	s.waitReady(s.publish, s.edges[0], s.edges[1])
	eve := roomsDial(t, at[0], "eve")
	for i := range messages {
		f := eve.get("sendMessage")
		if want := fmt.Sprintf(`{"n":%d,"to":"eve"}`, i); string(f.Body.Data) != want {
			t.Fatalf("message %d is %s", i, f.Body.Data)
		}
		eve.send("ack", f.ID)
	}
	eve.send("setID", "somebody else")
	eve.send("setID", "eve")
	eve.send("newID", nil)
	for done := false; !done; { // before the answer comes what waited for eve once more, which is nothing
		var f roomsFrame
		testkit.Check(t, eve.ws.ReadJSON(&f))
		if done = f.Body.Command == "clientID"; f.Body.Command == "sendMessage" {
			t.Errorf("delivered after the ack: %s", f.Body.Data)
		}
	}
	if f := roomsDial(t, at[1], "ann").get("sendMessage"); f.ID != first.ID {
		t.Errorf("what ann had not acknowledged is %+v, want %+v", f, first)
	}
	if status, body := get("http://" + at[1] + "/roomid"); status != http.StatusOK || body != "2" {
		t.Errorf("/roomid: %d %s", status, body)
	}
}
