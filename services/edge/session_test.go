package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

func TestToken_inTheHandshake(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada")
	c := h.dial("?token=" + token)
	if f := c.read(); f["connected"] == nil {
		t.Fatalf("got %v", f)
	}
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
	if e := c.read()["error"].(map[string]any); e["reason"] != "ALREADY_CONNECTED" {
		t.Errorf("error is %v", e)
	}
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http"), //nolint:bodyclose // it is the connection
		http.Header{"Authorization": {"Bearer " + token}})
	testkit.Check(t, err)
	defer func() { _ = ws.Close() }()
	if ws.Subprotocol() != "" {
		t.Errorf("a subprotocol that was not offered: %q", ws.Subprotocol())
	}
	if f := (&client{tb: t, ws: ws}).read(); f["connected"] == nil {
		t.Errorf("got %v", f)
	}
}

// Without the auth service nobody is let in, and who asks is told when to come back.
func TestAuthAway_nobodyIsLetIn(t *testing.T) {
	h := start(t, edge.Config{CallTimeout: time.Second})
	token := h.token("ada")
	known := h.connected(token)
	h.cut()
	c := h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
	e, ok := c.read()["error"].(map[string]any)
	if !ok || e["reason"] != "AUTH_UNAVAILABLE" || e["retryDelay"] == nil {
		t.Errorf("error is %v", e)
	}
	if code, text := c.closed(); code != 4503 || text != "AUTH_UNAVAILABLE" {
		t.Errorf("closed with %d %s", code, text)
	}
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http")+"?token="+token, nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("handshake: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	known.send(`{"id":3,"ping":{}}`) // a client that is in stays
	if f := known.read(); f["pong"] == nil {
		t.Errorf("got %v", f)
	}
}

func TestConnections_areBoundedByAddress(t *testing.T) {
	h := start(t, edge.Config{ConnectionsPerIP: 2})
	first := h.dial("")
	h.dial("")
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http"), nil)
	if err == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("the third: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	testkit.Check(t, first.ws.Close())
	testkit.Eventually(t, "one connection is left", func() bool { return h.edge.Connections() == 1 })
	h.dial("")
}

func TestPresence_listsSubscribers(t *testing.T) {
	h := start(t, edge.Config{})
	ada, bob := h.connected(h.token("ada", everything)), h.connected(h.token("bob", everything))
	ada.subscribe("channels/room")
	bob.subscribe("channels/room")
	members := func() []string {
		ada.send(`{"id":5,"presence":{"address":"channels/room"}}`)
		var users []string
		p := ada.read()["presence"].(map[string]any)
		list, _ := p["members"].([]any)
		for _, m := range list {
			users = append(users, m.(map[string]any)["user"].(string))
		}
		return users
	}
	testkit.Eventually(t, "both are members", func() bool { return len(members()) == 2 })
	bob.leave()
	testkit.Eventually(t, "ada alone is a member", func() bool { return fmt.Sprint(members()) == "[ada]" })
	ada.send(`{"id":6,"unsubscribe":{"address":"channels/room"}}`)
	ada.read()
	testkit.Eventually(t, "no member is left", func() bool { return len(members()) == 0 })
}

func TestRefresh_replacesTheToken(t *testing.T) {
	h := start(t, edge.Config{})
	issue := func(user string, grants ...*authv1.Grant) string {
		resp, err := h.auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "c-" + user, User: user, Grants: grants})
		testkit.Check(t, err)
		return resp.GetToken()
	}
	may := func(a string) *authv1.Grant {
		return &authv1.Grant{Address: a, Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE}}
	}
	c := h.connected(issue("ada", may("channels/live:a"), may("channels/live:b")))
	c.subscribe("channels/live:a")
	c.subscribe("channels/live:b")
	c.send(fmt.Sprintf(`{"id":3,"refresh":{"token":%q}}`, issue("ada", may("channels/live:b"))))
	if f := c.read()["unsubscribed"].(map[string]any); f["address"] != "channels/live:a" {
		t.Errorf("got %v", f)
	}
	if f := c.read(); f["refreshed"] == nil {
		t.Errorf("got %v", f)
	}
	h.pub("channels/live:a", `1`)
	h.pub("channels/live:b", `2`)
	if m := c.message(); m["data"] != float64(2) {
		t.Errorf("got %v", m)
	}
	c.send(fmt.Sprintf(`{"id":4,"refresh":{"token":%q}}`, issue("bob")))
	if code, text := c.closed(); code != 4401 || text != "TOKEN_INVALID" {
		t.Errorf("another user's token: %d %s", code, text)
	}
}

func TestExpiry_endsTheConnection(t *testing.T) {
	h := start(t, edge.Config{})
	resp, err := h.auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada", Ttl: durationpb.New(2 * time.Second)})
	testkit.Check(t, err)
	c := h.connected(resp.GetToken())
	code, text := c.closed()
	if code != 4402 || text != "TOKEN_EXPIRED" {
		t.Errorf("closed with %d %s", code, text)
	}
	if late := time.Since(resp.GetExpireTime().AsTime()); late < 0 || late > 2*time.Second {
		t.Errorf("closed %s after the token's end", late)
	}
}

func TestPublish_excludesTheSenderAndNarrows(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada", everything)
	one, two := h.connected(token), h.connected(token)
	one.subscribe("channels/live:x")
	two.subscribe("channels/live:x")
	one.send(`{"id":3,"publish":{"to":"channels/live:x","data":"not to one","excludeSender":true}}`)
	if f := one.read(); f["published"] == nil {
		t.Errorf("got %v", f)
	}
	if m := two.message(); m["data"] != "not to one" {
		t.Errorf("got %v", m)
	}
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/live:x", Data: []byte(`"to nobody here"`), Recipients: []string{"somebody-else"}})
	testkit.Check(t, err)
	h.pub("channels/live:x", `"to all"`)
	for _, c := range []*client{one, two} {
		if m := c.message(); m["data"] != "to all" {
			t.Errorf("got %v", m)
		}
	}
}

// A plain TLS connection has no socket to try a write on: everything goes through the backlog, with the same result.
func TestTLS(t *testing.T) {
	h := start(t, edge.Config{})
	dialects := []dialect.Dialect{native.JSON{}}
	server := httptest.NewTLSServer(h.edge.Handler(edge.Route{Dialects: dialects}))
	defer server.Close()
	d := websocket.Dialer{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig}
	ws, _, err := d.DialContext(t.Context(), "wss"+strings.TrimPrefix(server.URL, "https"), nil) //nolint:bodyclose // it is the connection
	testkit.Check(t, err)
	c := &client{tb: t, ws: ws}
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, h.token("ada", everything)))
	if f := c.read(); f["connected"] == nil {
		t.Fatalf("got %v", f)
	}
	c.subscribe("channels/tls")
	for i := range 200 {
		h.pub("channels/tls", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 1000)))
	}
	for i := range 200 {
		if m := c.message(); !strings.HasPrefix(m["data"].(string), fmt.Sprint(i)+" ") {
			t.Fatalf("message %d is %v", i, m)
		}
	}
	testkit.Check(t, ws.Close())
	testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
}

// What a client breaks ends its own connection, with the code of RFC 6455, and nobody else's.
func TestBrokenFrames(t *testing.T) {
	h := start(t, edge.Config{})
	other := h.connected(h.token("bob"))
	for name, tc := range map[string]struct {
		frame []byte
		code  int
	}{
		"reserved bit": {[]byte{0xC1, 0x80, 0, 0, 0, 0}, 1002}, "opcode 3": {[]byte{0x83, 0x80, 0, 0, 0, 0}, 1002}, "opcode 11": {[]byte{0x8B, 0x80, 0, 0, 0, 0}, 1002},
		"not masked": {[]byte{0x81, 0x00}, 1002}, "long ping": {[]byte{0x89, 0x80 | 126, 0, 126, 0, 0, 0, 0}, 1002}, "fragmented ping": {[]byte{0x09, 0x80, 0, 0, 0, 0}, 1002},
		"continuation first": {[]byte{0x80, 0x80, 0, 0, 0, 0}, 1002}, "length 2^63": {[]byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1009},
		"length 2^40": {[]byte{0x81, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1009}, "close code 999": {append([]byte{0x88, 0x82, 0, 0, 0, 0}, 0x03, 0xE7), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial("")
			c.tb = t
			_, err := c.ws.NetConn().Write(tc.frame)
			testkit.Check(t, err)
			code, _ := c.closed()
			if code != tc.code {
				t.Errorf("closed with %d, want %d", code, tc.code)
			}
		})
	}
	t.Run("gone without a word", func(t *testing.T) {
		c := h.connected(h.token("eve"))
		testkit.Check(t, c.ws.NetConn().(*net.TCPConn).SetLinger(0))
		testkit.Check(t, c.ws.NetConn().Close())
	})
	testkit.Eventually(t, "one connection is left", func() bool { return h.edge.Connections() == 1 })
	other.send(`{"id":3,"ping":{}}`)
	if f := other.read(); f["pong"] == nil {
		t.Errorf("got %v", f)
	}
}

func TestRefusal_hasTheBodyOfREST(t *testing.T) {
	h := start(t, edge.Config{})
	secret := http.Header{"Authorization": {"Bearer secret-token-text"}}
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http"), secret)
	if !errors.Is(err, websocket.ErrBadHandshake) {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body map[string]map[string]any
	testkit.Check(t, json.NewDecoder(resp.Body).Decode(&body))
	if resp.Header.Get("WWW-Authenticate") != "Bearer" || body["error"]["status"] != "UNAUTHENTICATED" || strings.Contains(fmt.Sprint(body), "secret-token") {
		t.Errorf("body is %v", body)
	}
}

// A client that connects by its handshake and says nothing is pinged before it counts as gone, and stays while it answers.
func TestSession_silentAfterTheHandshake(t *testing.T) {
	h := start(t, edge.Config{PingInterval: time.Second})
	c := h.dial("?token=" + h.token("ada"))
	pings := 0
	c.ws.SetPingHandler(func(payload string) error {
		if pings++; pings == 3 {
			return io.EOF // seen enough
		}
		return c.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
	})
	testkit.Check(t, c.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			if pings != 3 {
				t.Errorf("after %d pings: %v", pings, err)
			}
			return
		}
	}
}
