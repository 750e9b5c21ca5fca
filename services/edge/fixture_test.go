package edge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/rpctest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/services/publish"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is the real services over the memory store, and one edge.
type fixture struct {
	tb      testing.TB
	store   bus.Store
	edge    *edge.Edge
	http    *httptest.Server
	auth    authv1.AuthServiceClient
	publish publishv1.PublishServiceClient
	stop    func()
	cut     func() // ends the services, and leaves the edge alone

	conns  edge.Conns
	server authv1.AuthServiceServer
	calls  *calls
}

// calls is the connection to the auth service, and counts what goes over it.
type calls struct {
	grpc.ClientConnInterface
	n atomic.Int64
}

func (c *calls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.n.Add(1)
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// another starts one more edge over the same store and services, which ends with the test.
func (h *fixture) another(store edge.Store, conns edge.Conns, cfg edge.Config) (*edge.Edge, *httptest.Server) {
	h.tb.Helper()
	e, server, stop := h.stoppable(store, conns, cfg)
	h.tb.Cleanup(func() { testkit.Check(h.tb, stop()) })
	return e, server
}

// stoppable is another edge that ends when stop is called, which returns what Run did.
func (h *fixture) stoppable(store edge.Store, conns edge.Conns, cfg edge.Config) (*edge.Edge, *httptest.Server, func() error) {
	h.tb.Helper()
	cfg.Node, cfg.Namespaces = "another", bus.Namespaces{Default: bus.DefaultNamespace()}
	dialects := []dialect.Dialect{native.Proto{}, native.JSON{}}
	e, err := edge.New(store, conns, dialects, cfg, slog.New(slog.DiscardHandler), nil)
	testkit.Check(h.tb, err)
	server := httptest.NewServer(e.Handler(edge.Route{Dialects: dialects}))
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return e.Run(ctx) })
	stop := sync.OnceValue(func() error {
		cancel()
		defer server.Close()
		return g.Wait()
	})
	h.tb.Cleanup(func() { _ = stop() })
	testkit.Eventually(h.tb, "the edge is ready", func() bool { return e.Ready() == nil })
	return e, server, stop
}

// at returns a fixture of which only the listener is another.
func (h *fixture) at(server *httptest.Server) *fixture { return &fixture{tb: h.tb, http: server} }

func start(tb testing.TB, cfg edge.Config) *fixture {
	tb.Helper()
	return startOn(tb, memory.New(memory.Config{}), cfg)
}

// startOn is start over a store that others may use too. Each fixture has its own signing key and tokens.
func startOn(tb testing.TB, store bus.Store, cfg edge.Config) *fixture {
	tb.Helper()
	ns := bus.Namespaces{Default: bus.DefaultNamespace(), Named: map[string]bus.Namespace{
		"live":       {},
		"kept":       {Retention: bus.Retention{Length: 10_000, Age: time.Hour}},
		"disconnect": {Retention: bus.Retention{Length: 100, Age: time.Hour}, Overload: bus.Disconnect},
		"scores":     {Overload: bus.Conflate, ConflateKey: "match"},
	}}
	key, err := auth.NewKey("test")
	testkit.Check(tb, err)
	as, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
	testkit.Check(tb, err)
	ps, err := publish.New(store, publish.Config{Namespaces: ns})
	testkit.Check(tb, err)
	server := rpctest.New(tb)
	conn, log := server.Conn, slog.New(slog.DiscardHandler)
	ns.Events, ns.MembersInEvents = cfg.Namespaces.Events, cfg.Namespaces.MembersInEvents
	cfg.Node, cfg.Namespaces = cmp.Or(cfg.Node, "test"), ns
	dialects := []dialect.Dialect{native.Proto{}, native.JSON{}}
	counted := &calls{ClientConnInterface: conn}
	conns := edge.Conns{Auth: counted, Publish: conn}
	e, err := edge.New(store, conns, append(slices.Clone(dialects), strangers{}, tongueTied{}), cfg, log, nil)
	testkit.Check(tb, err)
	h := &fixture{
		tb: tb, store: store, conns: conns, server: as, calls: counted, edge: e, http: httptest.NewServer(e.Handler(edge.Route{Dialects: dialects})),
		auth: authv1.NewAuthServiceClient(conn), publish: publishv1.NewPublishServiceClient(conn),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	h.cut = server.Run(rpc.Config{}, []rpctest.Service{as, ps}, ps.Run)
	g.Go(func() error { return e.Run(ctx) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		testkit.Check(tb, g.Wait())
		h.http.Close()
		h.cut()
	})
	tb.Cleanup(h.stop)
	testkit.Eventually(tb, "the edge is ready", func() bool { return e.Ready() == nil })
	return h
}

// token issues a token; grants are "subscribe,publish channels/x" texts.
func (h *fixture) token(user string, grants ...string) string {
	h.tb.Helper()
	req := &authv1.IssueTokenRequest{User: user}
	for _, g := range grants {
		can, address, _ := strings.Cut(g, " ")
		grant := &authv1.Grant{Address: address}
		for a := range strings.SplitSeq(can, ",") {
			grant.Actions = append(grant.Actions, authv1.Action(authv1.Action_value["ACTION_"+strings.ToUpper(a)]))
		}
		req.Grants = append(req.Grants, grant)
	}
	resp, err := h.auth.IssueToken(h.tb.Context(), req)
	testkit.Check(h.tb, err)
	return resp.GetToken()
}

const everything = "subscribe,publish,history,presence channels/*"

// client is a JSON client that reads frames one by one.
type client struct {
	tb      testing.TB
	ws      *websocket.Conn
	changes []any // of a presence event, that were not looked at yet
}

func (h *fixture) dial(query string) *client {
	h.tb.Helper()
	url := "ws" + strings.TrimPrefix(h.http.URL, "http") + query
	d := websocket.Dialer{Subprotocols: []string{native.SubprotocolJSON}}
	ws, resp, err := d.DialContext(h.tb.Context(), url, nil) //nolint:bodyclose // it is the connection
	if err != nil {
		h.tb.Fatalf("dial %s: %v (%v)", query, err, resp)
	}
	h.tb.Cleanup(func() { _ = ws.Close() })
	return &client{tb: h.tb, ws: ws}
}

// connected dials and connects with a token.
func (h *fixture) connected(token string) *client {
	c := h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
	if f := c.read(); f["connected"] == nil {
		h.tb.Fatalf("connect was answered with %v", f)
	}
	return c
}

// leave closes the connection with a close frame.
func (c *client) leave() {
	c.tb.Helper()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	testkit.Check(c.tb, c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)))
}

func (c *client) send(text string) {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (c *client) read() map[string]any {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, b, err := c.ws.ReadMessage()
	testkit.Check(c.tb, err)
	var f map[string]any
	if err := json.Unmarshal(b, &f); err != nil {
		c.tb.Fatalf("not JSON: %s", b)
	}
	return f
}

// closed reads until the close frame and returns its code and text.
func (c *client) closed() (int, string) {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	for {
		_, _, err := c.ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla returns it bare
			return e.Code, e.Text
		}
		testkit.Check(c.tb, err)
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

func (h *fixture) pub(to, data string) *publishv1.PublishResponse {
	h.tb.Helper()
	resp, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data)})
	testkit.Check(h.tb, err)
	return resp
}
