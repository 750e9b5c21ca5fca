package rooms_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	native "github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A message that is published natively reaches a connection by its id, and one of a connection reaches a native client.
func TestNative(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a := h.as(t, 1, "ann")
		a.before()
		pub := func(req *publishv1.PublishRequest) {
			t.Helper()
			_, err := h.Publish.Publish(t.Context(), req)
			testkit.Check(t, err)
		}
		for _, x := range []struct {
			kind       publishv1.ContentType
			data, want string
		}{
			{publishv1.ContentType_CONTENT_TYPE_JSON, `{"text":"natively"}`, `{"text":"natively"}`},
			{publishv1.ContentType_CONTENT_TYPE_TEXT, `a "text"`, `"a \"text\""`},
			{publishv1.ContentType_CONTENT_TYPE_BINARY, "\x00\xff", `"AP8="`},
			{publishv1.ContentType_CONTENT_TYPE_JSON, "", `null`},
		} {
			pub(&publishv1.PublishRequest{To: "clients/ann", Data: []byte(x.data), ContentType: x.kind, Sender: &publishv1.Sender{Client: "a%20b"}})
			if f := a.next(); f.Body.Command != "sendMessage" || string(f.Body.Data) != x.want || f.ClientID != "a b" {
				t.Errorf("%q arrived as %+v", x.data, f)
			}
		}
		pub(&publishv1.PublishRequest{To: "channels/rooms:all", Data: []byte(`1`), Attributes: map[string]string{"command": "alert"}})
		if f := a.next(); f.Body.Command != "alert" || f.ClientID != "" || len(f.ID) != 32 {
			t.Errorf("got %+v", f)
		}
		pub(&publishv1.PublishRequest{To: "broadcast", Data: []byte(`2`)})
		if f := a.next(); string(f.Body.Data) != "2" {
			t.Errorf("got %+v", f)
		}

		got := make(chan *publishv1.Message, 16)
		token := h.Token(t, &authv1.IssueTokenRequest{Client: "native"}, "channels/rooms:*")
		c := h.Connect(t, native.Config{
			ManualAck: true, OnMessage: func(m *publishv1.Message) { got <- m },
			Token: func(context.Context) (string, error) { return token, nil },
		})
		a.message("native", "hi")
		m := <-got
		if string(m.GetData()) != `{"text":"hi","to":"native"}` || m.GetAttributes()["command"] != "sendMessage" || m.GetSender().GetClient() != "ann" || !m.GetAckRequired() {
			t.Errorf("the native client got %v", m)
		}
		c.Ack(m)
		testkit.Eventually(t, "it is acknowledged", func() bool { return h.waiting(t, "native") == 0 })
	})
}

// Message ids that are no UUIDs are acknowledged too: a publisher may make them.
func TestNative_anyID(t *testing.T) {
	h := start(t)
	a := h.as(t, 0, "ann")
	a.before()
	ids := []string{
		"order-7", "0123456789abcdef0123456789abcdef", "=", "==x", "00000000-0000-0000-0000-000000000001", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b8109dad11d180b400c04fd430c9",
	}
	seen := map[string]bool{}
	for _, id := range ids {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "clients/ann", Data: []byte(`1`), IdempotencyKey: id, Ack: &publishv1.AckPolicy{}})
		testkit.Check(t, err)
		f := a.next()
		if seen[f.ID] {
			t.Errorf("%q is %q, as another one", id, f.ID)
		}
		seen[f.ID] = true
		a.send("ack", f.ID)
		testkit.Eventually(t, id+" is acknowledged", func() bool { return h.waiting(t, "ann") == 0 })
	}
	if n := h.waiting(t, "ann"); n != 0 {
		t.Errorf("%d wait", n)
	}
	for _, id := range []string{"", "x", "=", strings.Repeat("x", 300), strings.Repeat("0", 32)} {
		a.send("ack", id)
	}
	if all := a.before(); len(all) > 0 {
		t.Errorf("unknown ids were answered with %+v", all)
	}
}

// Room ids are dense over all processes, each once.
func TestRoomID_dense(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		const callers, each = 8, 25
		var mu sync.Mutex
		var ids []int
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				for range each {
					status, body, _ := h.request(t, h.at[i%len(h.at)], http.MethodGet, "/roomid", "")
					var id int
					if err := json.Unmarshal([]byte(body), &id); status != http.StatusOK || err != nil {
						t.Errorf("GET /roomid = %d %s", status, body)
						return
					}
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		slices.Sort(ids)
		for i, id := range ids {
			if id != i+1 {
				t.Fatalf("the ids are %v", ids)
			}
		}
	})
}

func (h *deployment) request(t *testing.T, at, method, path, credential string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+at+path, nil)
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	req.Close = true
	req.Header.Set("Access-Control-Request-Headers", "x-any")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), resp.Header
}

// Pages of every origin may call everything; closed, room ids take a token or an API key.
func TestHTTP(t *testing.T) {
	h := start(t, apptest.With(func(c *config.Config) { c.Legacy.Open = false }))
	for _, x := range []struct{ method, path string }{
		{http.MethodOptions, "/roomid"}, {http.MethodGet, "/roomid"}, {http.MethodGet, "/ws/1"}, {http.MethodGet, "/else"}, {http.MethodOptions, "/ws/1"},
	} {
		_, _, header := h.request(t, h.at[0], x.method, x.path, "")
		if header.Get("Access-Control-Allow-Origin") != "*" || x.method == http.MethodOptions && header.Get("Access-Control-Allow-Headers") != "x-any" {
			t.Errorf("%s %s has the headers %v", x.method, x.path, header)
		}
	}
	status, body, _ := h.request(t, h.at[0], http.MethodGet, "/roomid", "")
	if status != http.StatusUnauthorized || !strings.HasPrefix(body, `{"message":"`) {
		t.Errorf("closed: %d %s", status, body)
	}
	for _, credential := range []string{h.AdminKey, h.Token(t, &authv1.IssueTokenRequest{Client: "ann"})} {
		if status, body, _ := h.request(t, h.at[0], http.MethodGet, "/roomid", credential); status != http.StatusOK {
			t.Errorf("with %.6s…: %d %s", credential, status, body)
		}
	}
}

// The relay's HTTP and rooms share an address, as their originals' clients expect.
func TestSharedListener(t *testing.T) {
	free := freePort(t)
	h := apptest.Start(t, apptest.Setting(t, "legacy.dialects", "relay,rooms"), apptest.Setting(t, "legacy.open", "true"),
		apptest.Setting(t, "legacy.relay.http_listen", free), apptest.Setting(t, "legacy.rooms.listen", free))
	all := &deployment{Deployment: h, at: []string{h.Legacy["rooms.listen"]}}
	if h.Legacy["relay.http"] != free || all.at[0] != free {
		t.Fatalf("they listen on %v", h.Legacy)
	}
	if status, body, _ := all.request(t, free, http.MethodGet, "/roomid", ""); status != http.StatusOK || body != "1" {
		t.Errorf("/roomid: %d %s", status, body)
	}
	status, body, _ := all.request(t, free, http.MethodGet, "/token", "")
	var made struct{ Token string }
	if err := json.Unmarshal([]byte(body), &made); status != http.StatusOK || err != nil {
		t.Fatalf("/token: %d %s", status, body)
	}
	// A relay client is reached by its id.
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.Legacy["relay.websocket"]+"/ws?token="+made.Token, nil)
	testkit.Check(t, err)
	_ = resp.Body.Close()
	defer func() { _ = ws.Close() }()
	a := all.dial(t, 0)
	a.send("sendMessage", map[string]string{"to": made.Token, "text": "hi"})
	_, data, err := ws.ReadMessage()
	testkit.Check(t, err)
	if want := fmt.Sprintf(`{"message":{"text":"hi","to":%q}}`, made.Token); string(data) != want {
		t.Errorf("the relay client got %s, want %s", data, want)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	defer func() { testkit.Check(t, l.Close()) }()
	return l.Addr().String()
}

// Two connections of one token are two users, who come and go one by one.
func TestOneToken_twoConnections(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		token := h.Token(t, &authv1.IssueTokenRequest{Client: "ann"}, "channels/rooms:*", "clients/*")
		bob := h.Token(t, &authv1.IssueTokenRequest{Client: "bob"}, "channels/rooms:*", "clients/*")
		watcher := h.connect(t, 1, "/ws/1?token="+bob, nil)
		watcher.get("newUser")
		var all []*client
		for i := range 2 {
			all = append(all, h.connect(t, i, "/ws/1?token="+token, nil))
			watcher.get("newUser")
		}
		watcher.message("ann", "to both")
		for _, c := range all {
			if f := c.get("sendMessage"); f.text(t) != "to both" {
				t.Errorf("got %+v", f)
			}
		}
		for _, c := range all {
			testkit.Check(t, c.ws.Close())
			watcher.get("userDisconnected")
		}
	}, apptest.With(func(c *config.Config) { c.Legacy.Open = false }))
}
