package gateway_test

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/testkit"
)

// zipped returns what gzip makes of a text.
func zipped(text string) string {
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text)) // a builder does not fail
	_ = w.Close()
	return out.String()
}

func TestRequests(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{MaxBody: 200})
	const publish = "/v1/channels/a:publish"
	big := `{"data":"` + strings.Repeat("x", 300) + `"}`
	for _, tt := range []struct {
		name, path, body string
		header           []string
		status           int
		says             string
	}{
		{"payload", publish, `{"data":{"b":[1]}}`, nil, 200, `{\"b\":[1]}`},
		{"empty", publish, ``, nil, 400, "INVALID_JSON"},
		{"brace", publish, `{`, nil, 400, "INVALID_JSON"},
		{"null", publish, `null`, nil, 400, "INVALID_JSON"},
		{"trailing", publish, `{}}`, nil, 400, "INVALID_JSON"},
		{"unknown", publish, `{"dta":1}`, nil, 400, `"reason":"UNKNOWN_FIELD","domain":"trunkline","metadata":{"field":"dta"}`},
		{"twice", publish, `{"data":1,"data":2}`, nil, 400, "FIELD_INVALID"},
		{"all wrong fields", publish, `{"ttl":1,"recipients":2}`, nil, 400, `"fieldViolations":[{"field":"ttl"`},
		{"not UTF-8", publish, "{\"data\":\"\xff\"}", nil, 400, "INVALID_JSON"},
		{"other address in the body", publish, `{"to":"channels/b"}`, nil, 400, "FIELD_INVALID"},
		{"same address in the body", publish, `{"to":"channels/a"}`, nil, 200, "publish channels/a"},
		{"JSON type", publish, `{}`, []string{"Content-Type: application/json; charset=UTF-8"}, 200, ""},
		{"curl's type", publish, `{}`, []string{"Content-Type: application/x-www-form-urlencoded"}, 200, ""},
		{"a page's form", publish, `{}`, []string{"Content-Type: application/x-www-form-urlencoded", "Origin: http://evil.test"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"text", publish, `{}`, []string{"Content-Type: text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"utf-16", publish, `{}`, []string{"Content-Type: application/json; charset=utf-16"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"gzip", publish, zipped(`{"data":{"b":[2]}}`), []string{"Content-Encoding: GZIP"}, 200, `{\"b\":[2]}`},
		{"gzip of two members", publish, zipped(`{"data":`) + zipped(`3}`), []string{"Content-Encoding: x-gzip"}, 200, "channels/a 3"},
		{"gzip that is none", publish, `{}`, []string{"Content-Encoding: gzip"}, 400, "not gzip"},
		{"half a gzip", publish, zipped(`{"data":{"b":[2]}}`)[:20], []string{"Content-Encoding: gzip"}, 400, "not gzip"},
		{"gzip with a wrong sum", publish, strings.Replace(zipped(`{"data":1}`), "\x1f\x8b", "\x1f\x8c", 1), []string{"Content-Encoding: gzip"}, 400, "not gzip"},
		{"gzip of too much", publish, zipped(big), []string{"Content-Encoding: gzip"}, 413, "MESSAGE_TOO_LARGE"},
		{"a bomb", publish, zipped(strings.Repeat(" ", 100_000)), []string{"Content-Encoding: gzip"}, 413, "MESSAGE_TOO_LARGE"},
		{"identity", publish, `{}`, []string{"Content-Encoding: identity"}, 200, ""},
		{"deflate", publish, `{}`, []string{"Content-Encoding: deflate"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"gzip twice", publish, `{}`, []string{"Content-Encoding: gzip", "Content-Encoding: gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"br in gzip", publish, `{}`, []string{"Content-Encoding: br, gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"asks before it sends too much", publish, "", []string{"Content-Length: 300", "Expect: 100-continue"}, 413, "MESSAGE_TOO_LARGE"},
		{"a key that is not ASCII", publish, `{}`, []string{"Idempotency-Key: \xff"}, 400, `"field":"Idempotency-Key"`},
		{"a token that is not ASCII", publish, `{}`, []string{"Authorization: Bearer \xff"}, 401, "TOKEN_INVALID"},
		{"large, declared", publish, big, nil, 413, "MESSAGE_TOO_LARGE"},
		{"10 GiB declared", publish, "{", []string{"Content-Length: 10737418240"}, 413, "MESSAGE_TOO_LARGE"},
		{"large, chunked", publish, "ff\r\n" + strings.Repeat(" ", 255) + "\r\n0\r\n\r\n", []string{"Transfer-Encoding: chunked"}, 413, "MESSAGE_TOO_LARGE"},
		{"query on a POST", publish + "?token=x", `{}`, nil, 400, "UNKNOWN_FIELD"},
		{"method override", publish, `{}`, []string{"X-HTTP-Method-Override: DELETE"}, 200, "publish channels/a"},
		{"key by header", publish, `{}`, []string{"Idempotency-Key: k7"}, 200, "k7"},
		{"key twice", publish, `{"idempotencyKey":"a"}`, []string{"Idempotency-Key: b"}, 400, "FIELD_INVALID"},
		{"one authorization", publish, `{}`, []string{"Authorization: bearer x"}, 200, "authorization=bearer x,x-request-id"},
		{"two authorizations", publish, `{}`, []string{"Authorization: Bearer x", "Authorization: Bearer y"}, 401, "TOKEN_INVALID"},
		{"smuggled metadata", publish, `{}`, []string{"Grpc-Metadata-Authorization: Bearer x", "Grpc-Metadata-X-User-Id: 1", "Grpcgateway-Authorization: Bearer x", "Grpc-Metadata-X-Tenant: t", "X-Request-Id: r1"}, 200, `  x-request-id=r1"`},
		{"timeout", publish, `{}`, []string{"Grpc-Timeout: 5S"}, 200, ""},
		{"timeout of nothing", publish, `{}`, []string{"Grpc-Timeout: 0n"}, 400, "Grpc-Timeout"},
		{"timeout of years", publish, `{}`, []string{"Grpc-Timeout: 99999999H"}, 400, "Grpc-Timeout"},
		{"timeout of words", publish, `{}`, []string{"Grpc-Timeout: soon"}, 400, "Grpc-Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := testkit.Send(t, s, "POST", tt.path, tt.body, tt.header...)
			if got.Status != tt.status || !strings.Contains(got.Body, tt.says) {
				t.Errorf("got %d %s, want %d with %s", got.Status, got.Body, tt.status, tt.says)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for _, tt := range []struct {
		query  string
		status int
		says   string
	}{
		{"pageSize=5&after.offset=3&newest_first=true", 200, "messages"},
		{"pagesize=5", 400, `"field":"pagesize"`},
		{"access_token=x", 400, `"field":"access_token"`},
		{"address=channels/b", 400, "UNKNOWN_FIELD"},
		{"_=1700000000000", 200, "messages"},
		{"pageSize=5&_=1", 200, "messages"},
		{"__=1", 400, `"field":"__"`},
		{"_x=1", 400, `"field":"_x"`},
		{"pageToken=%ff", 400, `"field":"pageToken","description":"is not UTF-8"`},
		{"forClient=%c3%28", 400, `"field":"forClient"`},
		{"after.epoch=%ff", 400, `"field":"after.epoch"`},
		{"%ff=1", 400, "is not UTF-8"},
		{"pageSize=5&pageSize=6", 400, "twice"},
		{"pageSize=5&page_size=6", 400, "twice"},
		{"pageSize=x", 400, "whole number"},
		{"after.offset=-1", 400, "whole number"},
		{"after=x", 400, "after.epoch"},
		{"newestFirst=yes", 400, "true or false"},
		{strings.Repeat("after.", 100) + "epoch=x", 400, "UNKNOWN_FIELD"},
		{strings.Repeat("a&", 10000), 400, "FIELD_INVALID"},
		{"pageSize=%zz", 400, "FIELD_INVALID"},
	} {
		got := testkit.Send(t, s, "GET", "/v1/channels/a/messages?"+tt.query, "")
		if got.Status != tt.status || !strings.Contains(got.Body, tt.says) {
			t.Errorf("%.60s: got %d %s, want %d with %s", tt.query, got.Status, got.Body, tt.status, tt.says)
		}
	}
	got := testkit.Send(t, s, "GET", "/v1/channels/a/messages", "ignored")
	if want := `"messages":[{"data":{"a":1},"contentType":"CONTENT_TYPE_JSON","redelivered":false,"ackRequired":false},{"data":"t"`; !strings.Contains(got.Body, want) {
		t.Errorf("got %s, want %s", got.Body, want)
	}
}

func TestErrors(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for data, want := range map[string]struct {
		code           int
		status, reason string
		header         string
	}{
		"idempotency": {409, "ABORTED", "IDEMPOTENCY_MISMATCH", ""},
		"exists":      {409, "ALREADY_EXISTS", "CHANNEL_EXISTS", ""},
		"rate":        {429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", "Retry-After"},
		"store":       {503, "UNAVAILABLE", "STORE_UNAVAILABLE", "Retry-After"},
		"token":       {401, "UNAUTHENTICATED", "TOKEN_MISSING", "WWW-Authenticate"},
		"denied":      {403, "PERMISSION_DENIED", "CHANNEL_PUBLISH_DENIED", ""},
		"large":       {400, "INVALID_ARGUMENT", "MESSAGE_TOO_LARGE", ""},
		"late":        {504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", ""},
		"off":         {501, "UNIMPLEMENTED", "METHOD_DISABLED", ""},
		"gap":         {400, "OUT_OF_RANGE", "POSITION_EXPIRED", ""},
		"internal":    {500, "INTERNAL", "INTERNAL", ""},
		"fields":      {400, "INVALID_ARGUMENT", "FIELD_INVALID", ""},
	} {
		got := testkit.Send(t, s, "POST", "/v1/channels/refused:publish", `{"data":"`+data+`"}`, "X-Request-Id: req-1")
		var body struct {
			Error struct {
				Code            int
				Status, Message string
				Details         []map[string]any
			}
		}
		if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
			t.Fatalf("%s: %v in %s", data, err, got.Body)
		}
		e := body.Error
		if got.Status != want.code || e.Code != want.code || e.Status != want.status || len(e.Details) < 2 || e.Details[0]["reason"] != want.reason ||
			e.Details[0]["@type"] != "type.googleapis.com/google.rpc.ErrorInfo" || e.Message == "" {
			t.Errorf("%s: got %d %s", data, got.Status, got.Body)
		}
		if !strings.Contains(got.Body, `"requestId":"req-1"`) || got.Header.Get("X-Request-Id") != "req-1" {
			t.Errorf("%s: the request id is missing in %s", data, got.Body)
		}
		if want.header != "" && got.Header.Get(want.header) == "" {
			t.Errorf("%s: no %s", data, want.header)
		}
	}
	got := testkit.Send(t, s, "POST", "/v1/tokens:issue", `{}`)
	if got.Status != 501 || strings.Contains(got.Body, "IssueToken") {
		t.Errorf("what gRPC says itself: got %d %s", got.Status, got.Body)
	}
	if got := testkit.Send(t, s, "POST", "/v1/channels/a:publish", `{"idempotencyKey":"again"}`); got.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("no Idempotent-Replayed in %v", got.Header)
	}
	if got := testkit.Send(t, s, "GET", "/v1/keys", "", "X-Request-Id: <script>"); got.Header.Get("X-Request-Id") == "<script>" {
		t.Error("returned a request id that nobody checked")
	}
}

func TestSlowBody(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{BodyTimeout: 50 * time.Millisecond})
	got := testkit.Send(t, s, "POST", "/v1/channels/a:publish", "{", "Content-Length: 100")
	if got.Status != http.StatusRequestTimeout || !strings.Contains(got.Body, "DEADLINE_EXCEEDED") {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}

func TestDevKey(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{DevKey: "tlk_dev"})
	host := s.Listener.Addr().String()
	_, port, _ := strings.Cut(host, ":")
	for _, tt := range []struct {
		name   string
		header []string
		lent   bool
	}{
		{"a program", nil, true},
		{"a page of this server", []string{"Origin: http://localhost:" + port, "Sec-Fetch-Site: same-origin"}, true},
		{"a page of another port", []string{"Origin: http://localhost:1"}, false},
		{"a page of another site", []string{"Origin: https://evil.test"}, false},
		{"an opaque page", []string{"Origin: null"}, false},
		{"a link of another site", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"a name that points here", []string{"Host: evil.test:" + port}, false},
		{"a proxy on this machine", []string{"X-Forwarded-For: 203.0.113.9"}, false},
		{"credentials of its own", []string{"Authorization: Bearer own"}, false},
	} {
		got := testkit.Send(t, s, "POST", "/v1/channels/a:publish", `{}`, append(tt.header, "Content-Type: application/json")...)
		if got.Status != 200 || strings.Contains(got.Body, "tlk_dev") != tt.lent {
			t.Errorf("%s: got %d %s", tt.name, got.Status, got.Body)
		}
	}
}

func TestCORS(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{AllowedOrigins: []string{"https://shop.example"}})
	for origin, want := range map[string]string{"https://shop.example": "https://shop.example", "https://evil.test": "", "null": ""} {
		got := testkit.Send(t, s, "OPTIONS", "/v1/channels/a:publish", "", "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
		if h := got.Header.Get("Access-Control-Allow-Origin"); h != want {
			t.Errorf("%s: preflight allows %q", origin, h)
		}
	}
	for _, o := range []string{"*", "shop.example"} {
		if _, err := gateway.New(t.Context(), gateway.Conns{}, gateway.Config{AllowedOrigins: []string{o}}); err == nil {
			t.Errorf("took the origin %q", o)
		}
	}
}
