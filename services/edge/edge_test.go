package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

func TestMessage_reachesSubscribersOfBothEncodings(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada", everything)
	c := h.connected(token)
	c.subscribe("channels/news")
	binary := h.proto(token, "channels/news")
	h.pub("channels/news", `{"text":"hello"}`)
	m := c.message()
	if m["to"] != "channels/news" || m["data"].(map[string]any)["text"] != "hello" {
		t.Errorf("got %v", m)
	}
	pm := binary.message()
	if string(pm.GetData()) != `{"text":"hello"}` || pm.GetTo() != "channels/news" || pm.GetPosition().GetOffset() != 1 {
		t.Errorf("got %v", pm)
	}
}

func TestMessage_reachesOwnAddressesAlone(t *testing.T) {
	h := start(t, edge.Config{})
	ada, bob := h.connected(h.token("ada")), h.connected(h.token("bob"))
	h.pub("users/bob", `"for bob"`)
	h.pub("broadcast", `"for all"`)
	if m := ada.message(); m["data"] != "for all" {
		t.Errorf("ada got %v", m)
	}
	first, second := bob.message(), bob.message()
	got := fmt.Sprint(first["data"], " ", second["data"])
	if got != "for bob for all" && got != "for all for bob" { // order holds within one address
		t.Errorf("bob got %s", got)
	}
}

func TestResume_replaysWhatWasMissed(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada", everything)
	c := h.connected(token)
	at := c.subscribe("channels/log")["position"].(map[string]any)
	testkit.Check(t, c.ws.Close())
	for i := range 5 {
		h.pub("channels/log", fmt.Sprint(i))
	}
	c = h.connected(token)
	c.send(fmt.Sprintf(`{"id":2,"subscribe":{"address":"channels/log","after":{"epoch":%q,"offset":"0"}}}`, at["epoch"]))
	if s := c.read()["subscribed"].(map[string]any); s["recovered"] != true {
		t.Errorf("not recovered: %v", s)
	}
	h.pub("channels/log", "5")
	for i := range 6 {
		if m := c.message(); m["data"] != float64(i) {
			t.Fatalf("message %d is %v", i, m)
		}
	}
}

func TestResume_tellsAGap(t *testing.T) {
	h := start(t, edge.Config{})
	for i := range 3 {
		h.pub("channels/log", fmt.Sprint(i))
	}
	c := h.connected(h.token("ada", everything))
	c.send(`{"id":2,"subscribe":{"address":"channels/log","after":{"epoch":"another","offset":"7"}}}`)
	if s := c.read()["subscribed"].(map[string]any); s["recovered"] == true {
		t.Errorf("recovered: %v", s)
	}
	g, ok := c.read()["gap"].(map[string]any)
	if !ok || g["reason"] != "epoch_changed" || g["address"] != "channels/log" {
		t.Errorf("gap is %v", g)
	}
	if m := c.message(); m["data"] != float64(0) {
		t.Errorf("after the gap came %v", m)
	}
}

func TestRefusals(t *testing.T) {
	h := start(t, edge.Config{Subscriptions: 2})
	token := h.token("ada", "subscribe channels/a", "subscribe channels/b", "subscribe channels/c", "publish channels/p")
	for _, tc := range []struct{ name, frame, reason string }{
		{"subscribe without grant", `{"id":9,"subscribe":{"address":"channels/x"}}`, "CHANNEL_SUBSCRIBE_DENIED"},
		{"another user", `{"id":9,"subscribe":{"address":"users/bob"}}`, "CHANNEL_SUBSCRIBE_DENIED"},
		{"system address", `{"id":9,"subscribe":{"address":"system/revoked"}}`, "FIELD_INVALID"},
		{"no address", `{"id":9,"subscribe":{}}`, "FIELD_INVALID"},
		{"history without grant", `{"id":9,"history":{"address":"channels/a"}}`, "CHANNEL_HISTORY_DENIED"},
		{"presence without grant", `{"id":9,"presence":{"address":"channels/a"}}`, "CHANNEL_PRESENCE_DENIED"},
		{"resume without history", `{"id":9,"subscribe":{"address":"channels/a","fromBeginning":true}}`, "CHANNEL_HISTORY_DENIED"},
		{"publish without grant", `{"id":9,"publish":{"to":"channels/a","data":1}}`, "CHANNEL_PUBLISH_DENIED"},
		{"bad publish", `{"id":9,"publish":{"to":"channels/p","data":1,"idempotencyKey":"a b"}}`, "FIELD_INVALID"},
		{"unsubscribe what is not", `{"id":9,"unsubscribe":{"address":"channels/a"}}`, "FIELD_INVALID"},
		{"connect twice", `{"id":9,"connect":{"token":"x"}}`, "ALREADY_CONNECTED"},
		{"no command", `{"id":9}`, "PROTOCOL_ERROR"},
		{"unknown field", `{"id":9,"dance":{}}`, "UNKNOWN_FIELD"},
		{"not an object", `[]`, "INVALID_JSON"},
		{"not JSON", `{`, "INVALID_JSON"},
		{"refresh with rubbish", `{"id":9,"refresh":{"token":"x"}}`, "TOKEN_INVALID"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := h.connected(token)
			c.tb = t
			c.send(tc.frame)
			e, ok := c.read()["error"].(map[string]any)
			if !ok || e["reason"] != tc.reason || e["message"] == "" {
				t.Fatalf("error is %v, want %s", e, tc.reason)
			}
			c.send(`{"id":3,"ping":{}}`) // the connection stays
			if f := c.read(); f["pong"] == nil || f["id"] != float64(3) {
				t.Errorf("ping was answered with %v", f)
			}
		})
	}
	t.Run("subscription limit", func(t *testing.T) {
		c := h.connected(token)
		c.tb = t
		c.subscribe("channels/a")
		c.subscribe("channels/b")
		c.send(`{"id":9,"subscribe":{"address":"channels/c"}}`)
		if e := c.read()["error"].(map[string]any); e["reason"] != "SUBSCRIPTION_LIMIT" {
			t.Errorf("error is %v", e)
		}
	})
}

func TestClose_tellsTheReason(t *testing.T) {
	h := start(t, edge.Config{CommandsPerSecond: 1, CommandBurst: 50, ConnectTimeout: time.Second})
	token := h.token("ada", everything)
	for _, tc := range []struct {
		name string
		do   func(c *client)
		code int
		text string
	}{
		{"bad token", func(c *client) { c.send(`{"id":1,"connect":{"token":"x"}}`) }, 4401, "TOKEN_INVALID"},
		{"no token", func(c *client) { c.send(`{"id":1,"connect":{}}`) }, 4401, "TOKEN_MISSING"},
		{"not connect first", func(c *client) { c.send(`{"id":1,"ping":{}}`) }, 4401, "NOT_CONNECTED"},
		{"no connect in time", func(*client) {}, 4408, "CONNECT_TIMEOUT"},
		{"binary frame", func(c *client) { testkit.Check(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte("{}"))) }, 1003, "UNSUPPORTED_MEDIA_TYPE"},
		{"not UTF-8", func(c *client) { c.send("{\"a\":\"\xc0\xaf\"}") }, 1007, "PROTOCOL_ERROR"},
		{"too many commands", func(c *client) {
			c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
			for range 60 {
				c.send(`{"ping":{}}`)
			}
		}, 4429, "RATE_LIMITED"},
		{"frame too large", func(c *client) { c.send(`{"id":1,"connect":{"name":"` + strings.Repeat("x", 200<<10) + `"}}`) }, 1009, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := h.dial("")
			c.tb = t
			tc.do(c)
			if code, text := c.closed(); code != tc.code || text != tc.text {
				t.Errorf("closed with %d %q, want %d %q", code, text, tc.code, tc.text)
			}
		})
	}
}

func TestHandshake_refusals(t *testing.T) {
	h := start(t, edge.Config{AllowedOrigins: []string{"https://app.example"}})
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		status int
		reason string
	}{
		{"bad token in the query, which the close code tells of", func(r *http.Request) { r.URL.RawQuery = "token=x" }, 101, ""},
		{"two tokens in the query", func(r *http.Request) { r.URL.RawQuery = "token=x&token=y" }, 401, "TOKEN_INVALID"},
		{"bad token in the header", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "TOKEN_INVALID"},
		{"other host", origin("https://evil.test"), 403, "ORIGIN_REFUSED"},
		{"other scheme", origin("http://app.example"), 403, "ORIGIN_REFUSED"},
		{"other port", origin("https://app.example:8443"), 403, "ORIGIN_REFUSED"},
		{"null", origin("null"), 403, "ORIGIN_REFUSED"},
		{"suffix", origin("https://app.example.evil"), 403, "ORIGIN_REFUSED"},
		{"two origins", func(r *http.Request) { r.Header["Origin"] = []string{"https://app.example", "https://app.example"} }, 403, "ORIGIN_REFUSED"},
		{"allowed in other case", origin("https://APP.example:443"), 101, ""},
		{"post", func(r *http.Request) { r.Method = "POST" }, 405, ""},
		{"no upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 426, ""},
		{"old version", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426, ""},
		{"bad key", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "x") }, 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.http.URL, nil)
			testkit.Check(t, err)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			req.Header.Set("Sec-WebSocket-Version", "13")
			req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			tc.change(req)
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(req)
			testkit.Check(t, err)
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
			if tc.reason == "" {
				return
			}
			var body struct {
				Error struct {
					Code    int
					Details []struct{ Reason string }
				}
			}
			testkit.Check(t, json.NewDecoder(resp.Body).Decode(&body))
			if body.Error.Code != tc.status || len(body.Error.Details) == 0 || body.Error.Details[0].Reason != tc.reason {
				t.Errorf("body is %+v", body)
			}
		})
	}
}

func origin(o string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Origin", o) }
}
