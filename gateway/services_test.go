package gateway_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/gateway"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/rpctest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/ticket"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/publish"
)

// serveServices is the real services over the memory store behind a gateway.
func serveServices(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	store := memory.New(memory.Config{})
	t.Cleanup(func() { _ = store.Close() })
	key, err := auth.NewKey("test")
	testkit.Check(t, err)
	as, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
	testkit.Check(t, err)
	ps, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace()}})
	testkit.Check(t, err)
	server := rpctest.New(t)
	text, apiKey := rpc.NewAPIKey("backend", rpc.ScopeAll)
	server.Run(rpc.Config{Auth: rpc.AuthConfig{
		Keys: []rpc.APIKey{apiKey}, Tokens: rpc.NewTokens(authv1.NewAuthServiceClient(server.Conn)), Tickets: ticket.New(store),
	}}, []rpctest.Service{as, ps}, ps.Run)
	conn := server.Dial("")
	h, err := gateway.New(t.Context(), gateway.Conns{Auth: conn, Publish: conn, Admin: conn}, gateway.Config{})
	testkit.Check(t, err)
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web, "Authorization: Bearer " + text
}

func TestServices(t *testing.T) {
	s, key := serveServices(t)
	post := func(path, body string, header ...string) testkit.Reply {
		t.Helper()
		return testkit.Send(t, s, "POST", path, body, header...)
	}

	t.Run("without credentials", func(t *testing.T) {
		got := post("/v1/channels/demo:publish", `{"data":1}`)
		if got.Status != 401 || got.Header.Get("WWW-Authenticate") != "Bearer" || !strings.Contains(got.Body, "TOKEN_MISSING") {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
	})
	t.Run("a token that grants one channel", func(t *testing.T) {
		got := post("/v1/tokens:issue", `{"user":"ada","grants":[{"address":"channels/demo","actions":["ACTION_PUBLISH","ACTION_HISTORY"]}]}`, key)
		var issued struct{ Token string }
		if err := json.Unmarshal([]byte(got.Body), &issued); err != nil || issued.Token == "" {
			t.Fatalf("got %d %s", got.Status, got.Body)
		}
		token := "Authorization: Bearer " + issued.Token
		if got := post("/v1/channels/demo:publish", `{"data":{"a":1}}`, token); got.Status != 200 {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
		if got := post("/v1/channels/other:publish", `{"data":1}`, token); got.Status != 403 || !strings.Contains(got.Body, "CHANNEL_PUBLISH_DENIED") {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
		if got := testkit.Send(t, s, "GET", "/v1/channels/demo/messages", "", token); got.Status != 200 || !strings.Contains(got.Body, `"data":{"a":1}`) || !strings.Contains(got.Body, `"user":"ada"`) {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
	})
	t.Run("idempotency", func(t *testing.T) {
		first := post("/v1/channels/idem:publish", `{"data":1}`, key, "Idempotency-Key: k1")
		again := post("/v1/channels/idem:publish", `{"data":1}`, key, "Idempotency-Key: k1")
		other := post("/v1/channels/idem:publish", `{"data":2}`, key, "Idempotency-Key: k1")
		if first.Status != 200 || first.Header.Get("Idempotent-Replayed") != "" || again.Header.Get("Idempotent-Replayed") != "true" ||
			other.Status != 409 || !strings.Contains(other.Body, "IDEMPOTENCY_MISMATCH") {
			t.Errorf("got %d %s, %d %s, %d %s", first.Status, first.Body, again.Status, again.Body, other.Status, other.Body)
		}
	})
	t.Run("bad requests name their fields", func(t *testing.T) {
		for path, says := range map[string]string{
			"/v1/channels/a%20b:publish": "ADDRESS_INVALID", "/v1/channels/-a:publish": "ADDRESS_INVALID", "/v1/channels/a:publish": "ttl",
		} {
			got := post(path, `{"data":1,"ttl":"-1s"}`, key)
			if got.Status != 400 || !strings.Contains(got.Body, says) && !strings.Contains(got.Body, `"field":"to"`) {
				t.Errorf("%s: got %d %s", path, got.Status, got.Body)
			}
		}
		if got := post("/v1/channels/a:publish", `{"data":"`+strings.Repeat("x", 70000)+`"}`, key); got.Status != 400 || !strings.Contains(got.Body, "65536") {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
	})
	t.Run("keys", func(t *testing.T) {
		if got := testkit.Send(t, s, "GET", "/.well-known/jwks.json", ""); got.Status != 200 || !strings.Contains(got.Body, `"kty":"OKP"`) {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
	})
	t.Run("a stream shows what is published", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/channels/live:eu/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", strings.TrimPrefix(key, "Authorization: "))
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() || !strings.Contains(lines.Text(), "subscribed") {
			t.Fatalf("got %d %s", res.StatusCode, lines.Text())
		}
		if got := post("/v1/channels/live:eu:publish", "{\"data\":{\n\"b\":2}}", key); got.Status != 200 {
			t.Fatalf("got %d %s", got.Status, got.Body)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), `"data":{"b":2}`) || !strings.Contains(lines.Text(), `"to":"channels/live:eu"`) {
			t.Errorf("got %s", lines.Text())
		}
	})
}
