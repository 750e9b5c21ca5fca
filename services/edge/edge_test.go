package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/services/publish"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is the real services over the memory store, and one edge.
type house struct {
	tb      testing.TB
	store   *memory.Store
	edge    *edge.Edge
	http    *httptest.Server
	auth    authv1.AuthServiceClient
	publish publishv1.PublishServiceClient
	stop    func()
}

const secret = "an-internal-key-for-the-tests-of-edge"

func start(tb testing.TB, cfg edge.Config) *house {
	tb.Helper()
	store := memory.New(memory.Config{})
	ns := bus.Namespaces{Default: bus.DefaultNamespace(), Named: map[string]bus.Namespace{"live": {}}}
	key, err := auth.NewKey("test")
	check(tb, err)
	as, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
	check(tb, err)
	ps, err := publish.New(store, publish.Config{Namespaces: ns})
	check(tb, err)
	pipe := rpc.NewPipe()
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: pipe, InternalKey: secret})
	check(tb, err)
	log := slog.New(slog.DiscardHandler)
	srv, err := rpc.NewServer(tb.Context(), rpc.Config{Auth: rpc.AuthConfig{Keys: []rpc.APIKey{rpc.InternalKey(secret)}}}, pipe, log, nil)
	check(tb, err)
	as.Register(srv)
	ps.Register(srv)
	cfg.Node, cfg.Namespaces = "test", ns
	dialects := []dialect.Dialect{native.Proto{}, native.JSON{}}
	e, err := edge.New(store, edge.Conns{Auth: conn, Publish: conn}, dialects, cfg, log, nil)
	check(tb, err)
	h := &house{
		tb: tb, store: store, edge: e, http: httptest.NewServer(e.Handler(edge.Route{Dialects: dialects})),
		auth: authv1.NewAuthServiceClient(conn), publish: publishv1.NewPublishServiceClient(conn),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g, services errgroup.Group
	sctx, scancel := context.WithCancel(context.Background())
	services.Go(func() error { return srv.Run(sctx) })
	services.Go(func() error { return ps.Run(sctx) })
	g.Go(func() error { return e.Run(ctx) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		check(tb, g.Wait())
		h.http.Close()
		scancel()
		check(tb, services.Wait())
		check(tb, conn.Close())
	})
	tb.Cleanup(h.stop)
	eventually(tb, func() bool { return e.Ready() == nil })
	return h
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// eventually polls what offers no event to wait for.
func eventually(tb testing.TB, ok func() bool) {
	tb.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatal("it did not come true within 10 s")
		}
	}
}

// token issues a token; grants are "subscribe,publish channels/x" texts.
func (h *house) token(user string, grants ...string) string {
	h.tb.Helper()
	req := &authv1.IssueTokenRequest{User: user}
	for _, g := range grants {
		can, address, _ := strings.Cut(g, " ")
		grant := &authv1.Grant{Address: address}
		for _, a := range strings.Split(can, ",") {
			grant.Actions = append(grant.Actions, authv1.Action(authv1.Action_value["ACTION_"+strings.ToUpper(a)]))
		}
		req.Grants = append(req.Grants, grant)
	}
	resp, err := h.auth.IssueToken(h.tb.Context(), req)
	check(h.tb, err)
	return resp.GetToken()
}

const everything = "subscribe,publish,history,presence channels/*"

// client is a JSON client that reads frames one by one.
type client struct {
	tb testing.TB
	ws *websocket.Conn
}

func (h *house) dial(query string) *client {
	h.tb.Helper()
	url := "ws" + strings.TrimPrefix(h.http.URL, "http") + query
	d := websocket.Dialer{Subprotocols: []string{native.SubprotocolJSON}}
	ws, resp, err := d.DialContext(h.tb.Context(), url, nil)
	if err != nil {
		h.tb.Fatalf("dial %s: %v (%v)", query, err, resp)
	}
	h.tb.Cleanup(func() { _ = ws.Close() })
	return &client{tb: h.tb, ws: ws}
}

// connected dials and connects with a token.
func (h *house) connected(token string) *client {
	c := h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
	if f := c.read(); f["connected"] == nil {
		h.tb.Fatalf("connect was answered with %v", f)
	}
	return c
}

func (c *client) send(text string) {
	c.tb.Helper()
	check(c.tb, c.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (c *client) read() map[string]any {
	c.tb.Helper()
	check(c.tb, c.ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, b, err := c.ws.ReadMessage()
	check(c.tb, err)
	var f map[string]any
	if err := json.Unmarshal(b, &f); err != nil {
		c.tb.Fatalf("not JSON: %s", b)
	}
	return f
}

// closed reads until the close frame and returns its code and text.
func (c *client) closed() (int, string) {
	c.tb.Helper()
	check(c.tb, c.ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	for {
		_, _, err := c.ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla returns it bare
			return e.Code, e.Text
		}
		check(c.tb, err)
	}
}

func (c *client) subscribe(address string) map[string]any {
	c.tb.Helper()
	c.send(fmt.Sprintf(`{"id":2,"subscribe":{"address":%q}}`, address))
	f := c.read()
	s, ok := f["subscribed"].(map[string]any)
	if !ok {
		c.tb.Fatalf("subscribe was answered with %v", f)
	}
	return s
}

func (c *client) message() map[string]any {
	c.tb.Helper()
	f := c.read()
	m, ok := f["message"].(map[string]any)
	if !ok {
		c.tb.Fatalf("not a message: %v", f)
	}
	return m
}

func (h *house) pub(to, data string) *publishv1.PublishResponse {
	h.tb.Helper()
	resp, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data)})
	check(h.tb, err)
	return resp
}

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
	check(t, c.ws.Close())
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
		{"binary frame", func(c *client) { check(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte("{}"))) }, 1003, "UNSUPPORTED_MEDIA_TYPE"},
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
		{"bad token in the query", func(r *http.Request) { r.URL.RawQuery = "token=x" }, 401, "TOKEN_INVALID"},
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
			check(t, err)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			req.Header.Set("Sec-WebSocket-Version", "13")
			req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			tc.change(req)
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(req)
			check(t, err)
			defer resp.Body.Close()
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
			check(t, json.NewDecoder(resp.Body).Decode(&body))
			if body.Error.Code != tc.status || len(body.Error.Details) == 0 || body.Error.Details[0].Reason != tc.reason {
				t.Errorf("body is %+v", body)
			}
		})
	}
}

func origin(o string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Origin", o) }
}
