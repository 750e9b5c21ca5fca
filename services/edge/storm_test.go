package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// stalled is an auth service that answers once it is opened.
type stalled struct {
	authv1.AuthServiceServer
	opened chan struct{}
	calls  atomic.Int64
}

func (s *stalled) BatchValidateTokens(ctx context.Context, req *authv1.BatchValidateTokensRequest) (*authv1.BatchValidateTokensResponse, error) {
	s.calls.Add(1)
	select {
	case <-s.opened:
		return s.AuthServiceServer.BatchValidateTokens(ctx, req)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stall starts a server of such a service until the test ends, and returns a connection to it.
func (h *fixture) stall() (*stalled, *grpc.ClientConn) {
	h.tb.Helper()
	service := &stalled{AuthServiceServer: h.server, opened: make(chan struct{})}
	server := grpc.NewServer()
	authv1.RegisterAuthServiceServer(server, service)
	l, err := (&net.ListenConfig{}).Listen(h.tb.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(h.tb, err)
	var g errgroup.Group
	g.Go(func() error { return server.Serve(l) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Check(h.tb, err)
	h.tb.Cleanup(func() {
		testkit.Check(h.tb, conn.Close())
		server.Stop()
		testkit.Check(h.tb, g.Wait())
	})
	return service, conn
}

// refused reads an error frame and the close that follows it.
func (c *client) refused() (reason string, delay time.Duration, code int) {
	c.tb.Helper()
	e, _ := c.read()["error"].(map[string]any)
	reason, _ = e["reason"].(string)
	if text, ok := e["retryDelay"].(string); ok {
		var err error
		delay, err = time.ParseDuration(text)
		testkit.Check(c.tb, err)
	}
	code, _ = c.closed()
	return reason, delay, code
}

// While the auth service stalls, as many as may be in progress wait. The others are refused at once, each with a time of its
// own. When the service answers, all get in.
func TestOverload_refusesAtOnce(t *testing.T) {
	h := start(t, edge.Config{})
	service, conn := h.stall()
	e, server := h.another(h.store, edge.Conns{Auth: conn, Publish: h.conns.Publish}, edge.Config{
		ConnectsInProgress: 8, CallTimeout: time.Minute, ConnectTimeout: time.Minute, DrainWindow: time.Millisecond,
	})
	door, token := h.at(server), h.token("ada")
	connect := fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token)
	var clients []*client
	for range 108 {
		clients = append(clients, door.dial(""))
		testkit.Eventually(t, "no handshake is under way", func() bool { return e.Connecting() == 0 }) // the handshake is over on that side too
	}
	waiting, others := clients[:8], clients[8:]
	for _, c := range waiting {
		c.send(connect)
	}
	testkit.Eventually(t, "eight handshakes are under way", func() bool { return e.Connecting() == 8 && service.calls.Load() > 0 })
	var early, late time.Duration
	for i, c := range others {
		c.send(connect)
		reason, delay, code := c.refused()
		if reason != "SERVER_OVERLOADED" || code != 1013 || delay < 500*time.Millisecond {
			t.Fatalf("client %d: %s, close %d, come back in %s", i, reason, code, delay)
		}
		switch {
		case i < 25:
			early += delay
		case i >= 75:
			late += delay
		}
	}
	if late < 2*early {
		t.Errorf("the delays do not grow: %s of the first quarter and %s of the last", early, late)
	}
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("handshake: %v, %v", resp, err)
	}
	var body map[string]map[string]any
	testkit.Check(t, json.NewDecoder(resp.Body).Decode(&body))
	testkit.Check(t, resp.Body.Close())
	if body["error"]["status"] != "UNAVAILABLE" {
		t.Errorf("body is %v", body)
	}
	close(service.opened) // nothing above has waited for it
	for i, c := range waiting {
		if f := c.read(); f["connected"] == nil {
			t.Errorf("client %d waited for %v", i, f)
		}
	}
	for range others {
		testkit.Eventually(t, "no handshake is under way", func() bool { return e.Connecting() == 0 })
		door.connected(token)
	}
}

// A client whose token would wait too long for its call is refused too, without a call, also before the upgrade. There is
// always a call under way that finds out when the service is back.
func TestOverload_ofTheAuthService(t *testing.T) {
	h := start(t, edge.Config{})
	service, conn := h.stall()
	_, server := h.another(h.store, edge.Conns{Auth: conn, Publish: h.conns.Publish}, edge.Config{CallTimeout: 300 * time.Millisecond, DrainWindow: time.Millisecond})
	door, token := h.at(server), h.token("ada")
	var reasons sync.Map
	testkit.Eventually(t, "both kinds of refusal have come", func() bool {
		var g errgroup.Group
		for range 12 {
			g.Go(func() error {
				ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
				if err != nil {
					defer func() { _ = resp.Body.Close() }()
					reasons.Store(fmt.Sprint(resp.StatusCode), true)
					return nil
				}
				c := &client{tb: t, ws: ws}
				defer func() { _ = ws.Close() }()
				c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
				reason, delay, _ := c.refused()
				if delay <= 0 {
					return errors.New(reason + " without a delay")
				}
				reasons.Store(reason, true)
				return nil
			})
		}
		testkit.Check(t, g.Wait())
		_, frame := reasons.Load("SERVER_OVERLOADED")
		_, handshake := reasons.Load("503")
		return frame && handshake
	})
	if _, ok := reasons.Load("AUTH_UNAVAILABLE"); !ok {
		t.Error("nobody has asked")
	}
	close(service.opened)
	testkit.Eventually(t, "a client is let in again", func() bool {
		ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
		if err != nil {
			_ = resp.Body.Close()
			return false
		}
		defer func() { _ = ws.Close() }()
		c := &client{tb: t, ws: ws}
		c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
		return c.read()["connected"] != nil
	})
	door.connected(token)
}

// deaf is the memory store behind a feed that loses announcements when it is told to, as a cut connection does.
type deaf struct {
	bus.Store
	cut      atomic.Bool
	lost     chan *bus.Message
	receiver atomic.Pointer[bus.Receiver]
}

type deafFeed struct {
	bus.Feed
	store *deaf
}

func (d *deaf) NewFeed() bus.Feed { return deafFeed{d.Store.NewFeed(), d} }

func (f deafFeed) Run(ctx context.Context, r bus.Receiver) error {
	f.store.receiver.Store(&r)
	return f.Feed.Run(ctx, deafReceiver{r, f.store})
}

type deafReceiver struct {
	bus.Receiver
	store *deaf
}

func (r deafReceiver) Deliver(m *bus.Message) {
	if m.To == bus.Revoked && r.store.cut.Load() {
		r.store.lost <- m
		return
	}
	r.Receiver.Deliver(m)
}

// A revocation whose announcement got lost ends the connection as soon as the feed is heard of again.
func TestRevocation_whileCutOff(t *testing.T) {
	h := start(t, edge.Config{})
	store := &deaf{Store: h.store, lost: make(chan *bus.Message, 10)}
	e, server := h.another(store, h.conns, edge.Config{Tickets: edge.Tickets{Keys: [][]byte{key(1)}}})
	testkit.Eventually(t, "the edge is sure of revocations", e.Sure)
	door := h.at(server)
	ada, bob := door.connected(h.token("ada")), door.connected(h.token("bob"))
	store.cut.Store(true)
	testkit.Check(t, store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Now().Add(time.Second), time.Hour))
	<-store.lost
	ada.send(`{"id":3,"ping":{}}`)
	if f := ada.read(); f["pong"] == nil {
		t.Fatalf("got %v", f) // it does not know yet
	}
	store.cut.Store(false)
	(*store.receiver.Load()).Interrupted([]bus.Address{bus.Revoked})
	if code, text := ada.closed(); code != 4401 || text != "TOKEN_REVOKED" {
		t.Errorf("closed with %d %s", code, text)
	}
	bob.send(`{"id":3,"ping":{}}`)
	if f := bob.read(); f["pong"] == nil {
		t.Errorf("got %v", f)
	}
}

// Half of the connections are revoked one by one, all at once: they end, and the others are undisturbed.
func TestRevocation_storm(t *testing.T) {
	const users = 1000
	h := start(t, edge.Config{DrainWindow: time.Millisecond})
	all := make([]*client, users)
	for i := range all {
		all[i] = h.connected(h.token(fmt.Sprintf("user-%d", i)))
	}
	began := time.Now()
	var revoking sync.WaitGroup
	for part := range 10 {
		revoking.Go(func() {
			for i := part * 2; i < users; i += 20 {
				if err := h.store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: fmt.Sprintf("user-%d", i)}, time.Now().Add(time.Second), time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	revoking.Wait()
	took := time.Since(began)
	for i := 0; i < users; i += 2 {
		if code, text := all[i].closed(); code != 4401 || text != "TOKEN_REVOKED" {
			t.Fatalf("user %d: closed with %d %s", i, code, text)
		}
	}
	t.Logf("%d of %d connections revoked one by one in %s, all ended %s after the first", users/2, users, took, time.Since(began))
	for i := 1; i < users; i += 2 {
		all[i].send(`{"id":3,"ping":{}}`)
		if f := all[i].read(); f["pong"] == nil {
			t.Fatalf("user %d: %v", i, f)
		}
	}
}

// The times to come back are spread also when the close frames are not.
func TestDrain_spreadsTheReturn(t *testing.T) {
	const clients = 600
	h := start(t, edge.Config{DrainWindow: time.Millisecond})
	token := h.token("ada")
	all := make([]*client, clients)
	for i := range all {
		all[i] = h.connected(token)
	}
	go h.stop()
	delays := make([]time.Duration, clients)
	for i, c := range all {
		reason, delay, code := c.refused()
		if reason != "SERVER_DRAINING" || code != 4503 {
			t.Fatalf("client %d: %s %d", i, reason, code)
		}
		delays[i] = delay
	}
	slices.Sort(delays)
	most := 0
	for i := range delays {
		n := sort.Search(clients, func(j int) bool { return delays[j] > delays[i]+time.Second })
		most = max(most, n-i)
	}
	t.Logf("of %d clients at most %d come back in one second, the last after %s", clients, most, delays[clients-1])
	if most > clients/4 {
		t.Errorf("%d of %d clients come back in one second", most, clients)
	}
}

// held is a connection to the publish service whose calls arrive and then take until they are let go.
type held struct {
	grpc.ClientConnInterface
	arrived, letGo chan struct{}
}

func (h *held) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	close(h.arrived)
	<-h.letGo
	return h.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// publishing starts an edge with one client whose publish is under way.
func (h *fixture) publishing(cfg edge.Config) (c *client, slow *held, stop func() error) {
	slow = &held{ClientConnInterface: h.conns.Publish, arrived: make(chan struct{}), letGo: make(chan struct{})}
	_, server, stop := h.stoppable(h.store, edge.Conns{Auth: h.conns.Auth, Publish: slow}, cfg)
	c = h.at(server).connected(h.token("ada", everything))
	c.send(`{"id":2,"publish":{"to":"channels/x","data":1}}`)
	<-slow.arrived
	return c, slow, stop
}

// beside connects another client to the same edge.
func (c *client) beside(token string) *client {
	at := "http://" + c.ws.RemoteAddr().String()
	return (&fixture{tb: c.tb, http: &httptest.Server{URL: at}}).connected(token)
}

func TestDrain_answersWhatIsUnderWay(t *testing.T) {
	h := start(t, edge.Config{})
	c, slow, stop := h.publishing(edge.Config{CallTimeout: time.Minute})
	idle := c.beside(h.token("bob"))
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if code, _ := idle.closed(); code != 4503 { // their turns come together
		t.Errorf("closed with %d", code)
	}
	close(slow.letGo)
	if f := c.read(); f["published"] == nil {
		t.Errorf("got %v", f)
	}
	if code, _ := c.closed(); code != 4503 {
		t.Errorf("closed with %d", code)
	}
	testkit.Check(t, <-stopped)
}

func TestDrain_saysWhatWasLeft(t *testing.T) {
	h := start(t, edge.Config{})
	c, slow, stop := h.publishing(edge.Config{CallTimeout: time.Minute, DrainGrace: 50 * time.Millisecond})
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for closed := false; !closed; {
		_, _, err := c.ws.ReadMessage()
		closed = err != nil
	}
	close(slow.letGo)
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "cut off: 1") {
		t.Errorf("Run = %v", err)
	}
}
