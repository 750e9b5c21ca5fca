package gateway_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/testkit"
)

func TestStream_NDJSON(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	got := testkit.Send(t, s, "GET", "/v1/channels/orders:eu/stream?after.epoch=e&after.offset=3&presence=true", "", "X-Request-Id: r1")
	lines := strings.Split(got.Body, "\n")
	want := []string{
		`{"result":{"subscribed":{"address":"channels/orders:eu","position":{"epoch":"e","offset":"3"},"recovered":true}}}`,
		`{"result":{"heartbeat":{}}}`,
		`{"result":{"message":{"id":"m1","data":{"a":1},"contentType":"CONTENT_TYPE_JSON","position":{"epoch":"e:1","offset":"7"}}}}`,
		`{"result":{"gap":{"address":"channels/orders:eu","reason":"slow_consumer"}}}`,
		`{"result":{"presenceEvent":{"address":"channels/orders:eu","changes":[{"kind":"KIND_JOINED"}],"clients":1}}}`,
	}
	for i, w := range want {
		if i >= len(lines) || lines[i] != w {
			t.Fatalf("line %d of %q, want %s", i, lines, w)
		}
	}
	if len(lines) != 7 || !strings.HasPrefix(lines[5], `{"error":{"code":503,"status":"UNAVAILABLE"`) {
		t.Errorf("the end is %q", lines[5:])
	}
	if got.Header.Get("Content-Type") != "application/x-ndjson" || got.Header.Get("X-Request-Id") != "r1" {
		t.Errorf("headers %v", got.Header)
	}
}

func TestStream_Events(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	got := testkit.Send(t, s, "GET", "/v1/channels/a/stream?presence=true", "", "Accept: text/event-stream", "Last-Event-ID: e:1:6")
	want := "id: e:1:6\nevent: subscribed\ndata: {\"address\":\"channels/a\",\"position\":{\"epoch\":\"e:1\",\"offset\":\"6\"},\"recovered\":true}\n\n" +
		": heartbeat\n\n" +
		"id: e:1:7\nevent: message\ndata: {\"id\":\"m1\",\"data\":{\"a\":1},\"contentType\":\"CONTENT_TYPE_JSON\",\"position\":{\"epoch\":\"e:1\",\"offset\":\"7\"}}\n\n" +
		"event: gap\ndata: {\"address\":\"channels/a\",\"reason\":\"slow_consumer\"}\n\n" +
		"event: presence\ndata: {\"address\":\"channels/a\",\"changes\":[{\"kind\":\"KIND_JOINED\"}],\"clients\":1}\n\n" +
		"event: error\ndata: {\"error\":{\"code\":503,"
	if !strings.HasPrefix(got.Body, want) {
		t.Errorf("got  %s\nwant %s", got.Body, want)
	}
	if got.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("headers %v", got.Header)
	}
}

func TestStream_Refused(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	if got := testkit.Send(t, s, "GET", "/v1/channels/denied/stream", ""); got.Status != 403 || !strings.Contains(got.Body, "CHANNEL_SUBSCRIBE_DENIED") {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := testkit.Send(t, s, "GET", "/v1/channels/a/stream", "", "Last-Event-ID: x"); got.Status != 400 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := testkit.Send(t, s, "POST", "/v1/channels/a/stream", "{}"); got.Status != 405 || got.Header.Get("Allow") != "GET" {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}

// Events are seen while the stream is open, and a draining server says why it ends.
func TestStream_FlushesAndDrains(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serveEcho(ctx, t, gateway.Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/channels/a/stream?fromBeginning=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for range 4 {
		if !lines.Scan() {
			t.Fatal("the stream ended before it was open")
		}
	}
	cancel()
	if !lines.Scan() || !strings.Contains(lines.Text(), "SERVER_DRAINING") {
		t.Errorf("the end is %q", lines.Text())
	}
}
