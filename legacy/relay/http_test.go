package relay_test

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/legacy/relay"
)

// relayEcho knows the token "a/b" and refuses to answer with anything but what it was sent.
type relayEcho struct {
	legacyv1.UnimplementedRelayServiceServer
	last chan string
}

func (relayEcho) CreateRelayToken(context.Context, *legacyv1.CreateRelayTokenRequest) (*legacyv1.CreateRelayTokenResponse, error) {
	return &legacyv1.CreateRelayTokenResponse{Token: "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}, nil
}

func (e relayEcho) CheckRelayToken(_ context.Context, r *legacyv1.CheckRelayTokenRequest) (*legacyv1.CheckRelayTokenResponse, error) {
	return &legacyv1.CheckRelayTokenResponse{Auth: r.GetToken() == "a/b"}, nil
}

func (e relayEcho) PublishArticle(_ context.Context, r *legacyv1.PublishArticleRequest) (*legacyv1.PublishArticleResponse, error) {
	if strings.Contains(string(r.GetRecord()), "crash") {
		return nil, status.Error(codes.Unavailable, "connection error: desc")
	}
	e.last <- string(r.GetRecord())
	return &legacyv1.PublishArticleResponse{Status: true}, nil
}

func serveRelay(t *testing.T, e relayEcho) *httptest.Server {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	legacyv1.RegisterRelayServiceServer(s, e)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(relay.NewHTTP(conn, legacy.HTTPConfig{}))
	t.Cleanup(func() { web.Close(); _ = conn.Close(); s.Stop(); <-done })
	return web
}

func TestRelay_Routes(t *testing.T) {
	s := serveRelay(t, relayEcho{})
	token := `{"token":"6ba7b810-9dad-41d1-80b4-00c04fd430c8"}`
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/token", 200, token},
		{"GET", "/TOKEN/", 200, token},
		{"HEAD", "/token", 200, ""},
		{"GET", "/auth/a%2Fb", 200, `{"auth":true}`},
		{"GET", "/Auth/a%2fb/", 200, `{"auth":true}`},
		{"GET", "/auth/x", 200, `{"auth":false}`},
		{"GET", "/auth/%ff", 400, ""},
		{"GET", "/auth/", 404, ""},
		{"GET", "/auth", 404, ""},
		{"GET", "/auth/a/b", 404, ""},
		{"POST", "/token", 404, ""},
		{"GET", "/publish", 404, ""},
		{"GET", "/", 404, ""},
	} {
		got := testkit.Send(t, s, tt.method, tt.path, "")
		if got.Status != tt.status || tt.body != "" && got.Body != tt.body || got.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: got %d %s %v", tt.method, tt.path, got.Status, got.Body, got.Header)
		}
	}
	got := testkit.Send(t, s, "GET", "/auth/x", "")
	if got.Header.Get("Content-Type") != "application/json; charset=utf-8" || got.Header.Get("ETag") != `W/"e-pXGTUdxVIlMKqtX1cqxovDpTTnE"` && !strings.HasPrefix(got.Header.Get("ETag"), `W/"e-`) {
		t.Errorf("headers %v", got.Header)
	}
	got = testkit.Send(t, s, "OPTIONS", "/publish", "", "Origin: null", "Access-Control-Request-Headers: content-type,x-y")
	if got.Status != 204 || got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Access-Control-Allow-Headers") != "content-type,x-y" ||
		got.Header.Get("Access-Control-Allow-Methods") != "GET,HEAD,PUT,PATCH,POST,DELETE" {
		t.Errorf("preflight: %d %v", got.Status, got.Header)
	}
}

func TestRelay_Publish(t *testing.T) {
	e := relayEcho{last: make(chan string, 1)}
	s := serveRelay(t, e)
	const js, form = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8"
	for _, tt := range []struct{ header, body, record string }{
		{js, `{ "uuid_remote" : "x", "n": 1.50, "more": {"a": [ ]} }`, `{"uuid_remote":"x","n":1.50,"more":{"a":[]}}`},
		{js, `[1, 2]`, `[1,2]`},
		{js, ``, `{}`},
		{"Content-Type: text/plain", `{"a":1}`, `{}`},
		{"X-None: 1", ``, `{}`},
		{form, `uuid_remote=x&message=a+b%26c`, `{"message":"a b\u0026c","uuid_remote":"x"}`},
		{form, `a[b][c]=d&a[e]=f`, `{"a":{"b":{"c":"d"},"e":"f"}}`},
		{form, `a[]=1&a[]=2&b=1&b=2&c[0]=x&c[1]=y`, `{"a":["1","2"],"b":["1","2"],"c":["x","y"]}`},
		{form, `a[b=c&x&[y]=z`, `{"a[b":"c","x":"","y":"z"}`},
		{form, `a[21]=x`, `{"a":{"21":"x"}}`},
		{form, `a[b][c][d][e][f][g]=h`, `{"a":{"b":{"c":{"d":{"e":{"f":{"[g]":"h"}}}}}}}`},
		{form, ``, `{}`},
	} {
		got := testkit.Send(t, s, "POST", "/publish", tt.body, tt.header)
		if got.Status != 200 || got.Body != `{"status":true}` {
			t.Errorf("%s: got %d %s", tt.body, got.Status, got.Body)
			continue
		}
		if record := <-e.last; record != tt.record {
			t.Errorf("%s: the record is %s, want %s", tt.body, record, tt.record)
		}
	}
	for _, tt := range []struct {
		header, body string
		status       int
		says         string
	}{
		{js, `{"a":`, 400, "INVALID_JSON"},
		{js, `"x"`, 400, "INVALID_JSON"},
		{js, `null`, 400, "INVALID_JSON"},
		{js, `{"a":"` + strings.Repeat("x", 100<<10) + `"}`, 413, "MESSAGE_TOO_LARGE"},
		{form, strings.Repeat("a=b&", 2000), 413, "MESSAGE_TOO_LARGE"},
		{js, `{"a":"crash"}`, 503, "the service does not answer"},
	} {
		got := testkit.Send(t, s, "POST", "/publish", tt.body, tt.header)
		if got.Status != tt.status || !strings.Contains(got.Body, tt.says) || strings.Contains(got.Body, "desc") {
			t.Errorf("%.40s: got %d %s", tt.body, got.Status, got.Body)
		}
	}
}
