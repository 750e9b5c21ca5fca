package pushserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/legacy/pushserver"
)

// pushFails fails as the name of the channel says; the real service is behind the tests of the dialect.
type pushFails struct {
	legacyv1.UnimplementedPushServerServiceServer
}

func (pushFails) CheckPushChannel(ctx context.Context, r *legacyv1.CheckPushChannelRequest) (*legacyv1.CheckPushChannelResponse, error) {
	switch r.GetChannel() {
	case "away":
		return nil, status.Error(codes.Unavailable, "connection error: desc")
	case "broken":
		return nil, status.Error(codes.Internal, "secret detail")
	case "slow":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &legacyv1.CheckPushChannelResponse{}, nil
}

func servePush(t *testing.T, cfg legacy.HTTPConfig) *httptest.Server {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	legacyv1.RegisterPushServerServiceServer(s, pushFails{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(pushserver.NewHTTP(conn, cfg))
	t.Cleanup(func() { web.Close(); _ = conn.Close(); s.Stop(); <-done })
	return web
}

// What goes wrong inside has the shape of the protocol and tells nothing.
func TestPushServer_failures(t *testing.T) {
	s := servePush(t, legacy.HTTPConfig{Timeout: 300 * time.Millisecond})
	for channel, want := range map[string]string{
		"fine":   `{"messageType":"SERVER_ACK","code":200,"message":"OK","data":{"channel":"fine","channelToken":null}}`,
		"broken": `{"messageType":"ERROR","code":500,"message":"Internal Server Error","data":{"errorDetails":null}}`,
		"away":   `{"messageType":"ERROR","code":503,"message":"Service Unavailable","data":{"errorDetails":"the service does not answer"}}`,
		"slow":   `{"messageType":"ERROR","code":504,"message":"Gateway Timeout","data":{"errorDetails":"the call did not end in time; repeat it with the same idempotency key"}}`,
	} {
		body := `{"messageType":"SERVER_ACTION","action":"PING_CHANNEL","data":{"channel":"` + channel + `","channelToken":null}}`
		got := testkit.Send(t, s, "POST", "/channel/ping", body)
		var told struct{ Code int }
		if err := json.Unmarshal([]byte(got.Body), &told); err != nil || got.Body != want || got.Status != told.Code {
			t.Errorf("%s: %d %s, want %s", channel, got.Status, got.Body, want)
		}
	}
}

// A body that does not come, or is too large, is answered in time and in shape.
func TestPushServer_bodies(t *testing.T) {
	s := servePush(t, legacy.HTTPConfig{MaxBody: 100, BodyTimeout: 100 * time.Millisecond})
	if got := testkit.Send(t, s, "POST", "/push", strings.Repeat("x", 101)); got.Status != 413 || !strings.HasPrefix(got.Body, `{"messageType":"ERROR","code":413,`) {
		t.Errorf("a large body: %d %s", got.Status, got.Body)
	}
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /push HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), `"messageType":"ERROR"`) {
		t.Errorf("a slow body: %v %s", err, answer)
	}
}

func TestPushServer_paths(t *testing.T) {
	s := servePush(t, legacy.HTTPConfig{})
	const invalid = `{"messageType":"ERROR","code":400,"message":"Bad Request","data":{"errorDetails":"Invalid message"}}`
	for path, want := range map[string]string{
		"/channel/create": invalid, "/channel/create/extra?x": invalid, "/channel/deleted": invalid, "/push": invalid, "/pushed": invalid,
		"/channel": "", "/Push": "", "/": "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodOptions, "ANY"} {
			got := testkit.Send(t, s, method, path, "")
			if want == "" && (got.Status != 404 || got.Body != "<h1>404 Not Found</h1>No context found for request") || want != "" && (got.Status != 400 || got.Body != want) {
				t.Errorf("%s %s: %d %s", method, path, got.Status, got.Body)
			}
			if got.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s lets pages of other origins read it", method, path)
			}
		}
	}
	if got := testkit.Send(t, s, "GET", "/js/pushserver.js?v=1", ""); got.Status != 200 || got.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the script: %d %v", got.Status, got.Header)
	}
}
