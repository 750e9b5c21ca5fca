package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// doors opens streams of a deployment at every door, until the test ends.
type doors struct {
	*apptest.Deployment
	t    *testing.T
	conn func(credential string) *grpc.ClientConn
}

func newDoors(t *testing.T, d *apptest.Deployment) doors {
	t.Helper()
	conns := map[string]*grpc.ClientConn{}
	return doors{d, t, func(credential string) *grpc.ClientConn {
		if conns[credential] == nil {
			conns[credential] = apptest.Dial(t, d.GRPC, credential)
		}
		return conns[credential]
	}}
}

// rest opens a stream over HTTP and returns why it was refused; nil when it is open.
func (d doors) rest(ctx context.Context, credential, accept string) error {
	d.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.HTTP+"/v1/broadcast/stream", nil)
	testkit.Check(d.t, err)
	req.Header.Set("Authorization", "Bearer "+credential)
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(d.t, err)
	context.AfterFunc(ctx, func() { _ = resp.Body.Close() })
	if resp.StatusCode == http.StatusOK {
		_, err = bufio.NewReader(resp.Body).ReadString('\n')
		testkit.Check(d.t, err)
		return nil
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `"reason":"CONNECTION_LIMIT"`) {
		d.t.Errorf("refused with %d %s", resp.StatusCode, body)
	}
	return fmt.Errorf("%s", body)
}

// opened waits for the first answer of a stream.
func opened[T any](stream interface{ Recv() (T, error) }, err error) error {
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}

// all are the doors by name. Each returns nil when the stream is open, and otherwise why it is not.
func (d doors) all() map[string]func(ctx context.Context, credential string) error {
	publish := func(credential string) publishv1.PublishServiceClient {
		return publishv1.NewPublishServiceClient(d.conn(credential))
	}
	return map[string]func(ctx context.Context, credential string) error{
		"NDJSON": func(ctx context.Context, c string) error { return d.rest(ctx, c, "application/x-ndjson") },
		"events": func(ctx context.Context, c string) error { return d.rest(ctx, c, "text/event-stream") },
		"Consume": func(ctx context.Context, c string) error {
			stream, err := publish(c).Consume(ctx, &publishv1.ConsumeRequest{Address: "broadcast"})
			return opened(stream, err)
		},
		"Subscribe": func(ctx context.Context, c string) error {
			stream, err := publish(c).Subscribe(ctx)
			testkit.Check(d.t, err)
			_ = stream.Send(&publishv1.SubscribeRequest{Command: &publishv1.SubscribeRequest_Subscribe{
				Subscribe: &publishv1.ConsumeRequest{Address: "broadcast"},
			}}) // a refusal shows below
			return opened(stream, nil)
		},
		"PublishStream": func(ctx context.Context, c string) error {
			stream, err := publish(c).PublishStream(ctx)
			return opened(stream, err)
		},
	}
}

func isLimit(err error, setting string) bool {
	e := rpc.FromError(err)
	return e != nil && (e.Reason == bus.ErrConnectionLimit.Reason && e.Metadata["rule"] == setting && e.RetryAfter > 0 ||
		strings.Contains(err.Error(), fmt.Sprintf("%q:%q", "rule", setting)))
}

// One limit counts the streams of all doors together, and those that have ended no more.
func TestStreams_areLimitedAtEveryDoor(t *testing.T) {
	d := newDoors(t, apptest.Start(t, apptest.Setting(t, "streams.per_token", "5"), apptest.Setting(t, "streams.per_user", "7"),
		apptest.Setting(t, "streams.per_key", "3"), apptest.Setting(t, "streams.per_ip", "0")))
	token := func(user string) string { return d.Token(t, &authv1.IssueTokenRequest{User: user}, "channels/*") }
	first, second := token("ada"), token("ada")
	all, stop := context.WithCancel(t.Context())
	for name, open := range d.all() {
		if err := open(all, first); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, open := range d.all() {
		if err := open(t.Context(), first); !isLimit(err, "streams.per_token") {
			t.Errorf("%s beyond the limit of the token: %v", name, err)
		}
		if err := open(t.Context(), token("bob")); err != nil {
			t.Errorf("%s of somebody else: %v", name, err)
		}
	}
	testkit.Check(t, d.all()["Consume"](all, second))
	testkit.Check(t, d.all()["NDJSON"](all, second))
	for name, open := range d.all() {
		if err := open(t.Context(), second); !isLimit(err, "streams.per_user") {
			t.Errorf("%s beyond the limit of the user: %v", name, err)
		}
	}
	stop()
	testkit.Eventually(t, "streams that have ended are counted no more", func() bool { return d.all()["Consume"](t.Context(), first) == nil })
	watch := func() error {
		stream, err := hooksv1.NewEventServiceClient(d.conn(d.AdminKey)).WatchEvents(t.Context(), &hooksv1.WatchEventsRequest{})
		return opened(stream, err)
	}
	for range 3 {
		testkit.Check(t, d.all()["NDJSON"](t.Context(), d.AdminKey))
	}
	if err := watch(); !isLimit(err, "streams.per_key") {
		t.Errorf("beyond the limit of the key: %v", err)
	}
}

// Addresses are counted where callers come in, and those of proxies and gateways are nobody's.
func TestStreams_areLimitedByAddress(t *testing.T) {
	limited := apptest.Setting(t, "streams.per_ip", "2")
	t.Run("in one process", func(t *testing.T) {
		d := newDoors(t, apptest.Start(t, limited))
		for i, door := range []string{"NDJSON", "Consume", "events", "Subscribe"} {
			err := d.all()[door](t.Context(), d.Token(t, &authv1.IssueTokenRequest{User: fmt.Sprint(i)}))
			if i < 2 && err != nil || i >= 2 && !isLimit(err, "streams.per_ip") {
				t.Errorf("%s as number %d: %v", door, i, err)
			}
		}
	})
	t.Run("behind a proxy", func(t *testing.T) {
		d := newDoors(t, apptest.Start(t, limited, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8")))
		for i := range 4 {
			testkit.Check(t, d.all()["Consume"](t.Context(), d.Token(t, &authv1.IssueTokenRequest{User: fmt.Sprint(i)})))
		}
	})
	t.Run("behind a gateway elsewhere", func(t *testing.T) {
		d := newDoors(t, apptest.Start(t, limited, apptest.Redis(redistest.Start(t).URL()), apptest.Split(0)))
		for i := range 4 {
			token := d.Token(t, &authv1.IssueTokenRequest{User: fmt.Sprint(i)})
			if err := d.all()["NDJSON"](t.Context(), token); i < 2 && err != nil || i >= 2 && !isLimit(err, "streams.per_ip") {
				t.Errorf("number %d at the gateway: %v", i, err)
			}
		}
		testkit.Check(t, d.all()["Consume"](t.Context(), d.Token(t, nil))) // the gateway's streams count for no address here
	})
}

// WebSocket connections of one token and of one user are limited in the handshake and in a connect.
func TestConnections_areLimitedByTokenAndUser(t *testing.T) {
	d := apptest.Start(t, apptest.Setting(t, "edge.connections_per_token", "2"), apptest.Setting(t, "edge.connections_per_user", "3"))
	dial := func(query string) (*websocket.Conn, *http.Response, error) {
		dialer := websocket.Dialer{Subprotocols: []string{"trunkline.v1.json"}}
		return dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(d.HTTP, "http")+"/v1/ws"+query, nil)
	}
	connect := func(token string) (*websocket.Conn, string) {
		t.Helper()
		ws, _, err := dial("") //nolint:bodyclose // it is the connection
		testkit.Check(t, err)
		t.Cleanup(func() { _ = ws.Close() })
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, token)))
		testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, b, err := ws.ReadMessage()
		testkit.Check(t, err)
		return ws, string(b)
	}
	first, second := d.Token(t, &authv1.IssueTokenRequest{User: "ada"}), d.Token(t, &authv1.IssueTokenRequest{User: "ada"})
	one, got := connect(first)
	if !strings.Contains(got, "connected") {
		t.Fatal(got)
	}
	if _, got := connect(first); !strings.Contains(got, "connected") {
		t.Fatal(got)
	}
	if _, got := connect(first); !strings.Contains(got, "CONNECTION_LIMIT") || !strings.Contains(got, "edge.connections_per_token") {
		t.Errorf("a third one of the token: %s", got)
	}
	if _, got := connect(second); !strings.Contains(got, "connected") {
		t.Errorf("another token: %s", got)
	}
	if _, got := connect(second); !strings.Contains(got, "edge.connections_per_user") {
		t.Errorf("a fourth one of the user: %s", got)
	}
	_, resp, err := dial("?token=" + second)
	if err == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("in the handshake: %v %v", err, resp)
	}
	_ = resp.Body.Close()
	_ = one.Close()
	testkit.Eventually(t, "one that has ended is counted no more", func() bool {
		ws, got := connect(second)
		if !strings.Contains(got, "connected") {
			_ = ws.Close()
		}
		return strings.Contains(got, "connected")
	})
}
