package simulate_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/simulate"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// sessions are WebSockets of an edge.
var sessions = kind{
	plan: simulate.Plan{
		Machine: "sessions", Least: 5, Most: 40,
		Settings: []simulate.Verb{{Do: "little", Most: 4}, {Do: "length", Most: 4}, {Do: "addresses", Most: 2}},
		First:    []simulate.Step{{Do: "drain", N: 0}, {Do: "subscribe", N: 0}, {Do: "subscribe", N: 1}, {Do: "dial", N: 0}, {Do: "dial", N: 1}, {Do: "queue", N: 0}},
		Verbs: append(slices.Clone(environment), []simulate.Verb{
			{Do: "dial", Weight: 5, Most: 2},
			{Do: "subscribe", Weight: 5, Most: 8},
			{Do: "unsubscribe", Weight: 1, Most: 8},
			{Do: "close", Weight: 3, Most: 2},
			{Do: "stall", Weight: 2, Most: 2},
			{Do: "go on", Weight: 3, Most: 2},
		}...),
	},
	rest: 4 * time.Second, rounds: true,
	make: func(tb testing.TB, w *world) machine {
		key, err := auth.NewKey("key")
		check(tb, err)
		store := &quietStore{newWhole(w.store)}
		service, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
		check(tb, err)
		cfg := edge.Config{Node: "edge", PingInterval: time.Hour, Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: bus.Retention{Length: 1000, Age: 1000 * time.Hour}}}}
		if n, ok := w.schedule.Setting("little"); ok {
			cfg.HoldLimit, cfg.QueueBytes, cfg.ShardParcels = 1+n, 100*(1+n), 1+n
		}
		m := &edgeMachine{world: w, dialects: []dialect.Dialect{native.Proto{}}}
		m.edge, err = edge.New(store, edge.Conns{Auth: authConn{server: service}, Publish: authConn{}}, m.dialects, cfg, slog.New(slog.DiscardHandler), nil)
		check(tb, err)
		for _, who := range []string{"ann", "bob", "cho"} {
			token, err := service.IssueToken(rpc.WithCaller(context.Background(), rpc.Backend("back end", rpc.ScopeAll)), &authv1.IssueTokenRequest{
				Client: who, Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}}},
			})
			check(tb, err)
			m.all = append(m.all, &visitor{client: newClient(w, who), machine: m, token: token.GetToken()})
		}
		return m
	},
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// quietStore is a store in which nothing is revoked.
type quietStore struct{ *whole }

// RevocationsSeen notes nothing: the logs of revocations are as simulated as all others.
func (*quietStore) RevocationsSeen(context.Context, bus.Position) error { return nil }

// authConn is the way to the auth service.
type authConn struct {
	grpc.ClientConnInterface
	server *auth.Server
}

// Invoke carries the one call out that an edge makes.
func (c authConn) Invoke(ctx context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	req, ok := args.(*authv1.BatchValidateTokensRequest)
	if !ok {
		return bus.ErrStoreUnavailable
	}
	answer, err := c.server.BatchValidateTokens(rpc.WithCaller(ctx, rpc.Backend("edge", rpc.ScopeAll)), req)
	if err != nil {
		return err
	}
	proto.Merge(reply.(proto.Message), answer)
	return nil
}

// edgeMachine is an edge and its clients.
type edgeMachine struct {
	*world
	edge     *edge.Edge
	dialects []dialect.Dialect
	all      []*visitor
}

func (m *edgeMachine) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		for _, v := range m.all {
			v.close()
		}
	})
	defer stop()
	return m.edge.Run(ctx)
}

func (m *edgeMachine) step(s simulate.Step) {
	one := m.all[s.N%len(m.all)]
	a := m.address(s.N / len(m.all))
	switch s.Do {
	case "dial":
		one.connect()
	case "subscribe":
		one.subscribe(a)
	case "unsubscribe":
		one.unsubscribe(a)
	case "close":
		one.close()
	case "stall":
		one.stall(true)
	case "go on":
		one.stall(false)
	}
}

func (m *edgeMachine) settle() {
	for range 3 {
		for _, v := range m.all {
			v.stall(false)
			v.connect()
		}
		m.rest(m.pause())
		for _, v := range m.all {
			for _, a := range v.finished() {
				v.subscribe(a)
			}
		}
		m.rest(m.pause())
	}
	for _, a := range m.addresses {
		m.ledger.Publish(a)
	}
	m.rest(m.pause())
	for _, v := range m.all {
		if missing := v.finished(); len(missing) > 0 {
			m.ledger.Wrong("deaf: %s cannot follow %v", v.who, missing)
		}
	}
	m.restless()
}

// visitor is one client over a WebSocket.
type visitor struct {
	*client
	machine *edgeMachine
	token   string
	socket  *socket // nil while there is none
}

// socket is one connection of a visitor.
type socket struct {
	of    *visitor
	raw   net.Conn
	ended chan struct{}
	reads chan struct{} // closed while the client reads; guarded by the client's lock
	sends chan *edgev1.ClientFrame
	asked map[uint32]*edgev1.Subscribe
	first []*edgev1.Subscribe // of connect
	ids   uint32
	open  bool // it was answered
}

func (v *visitor) current() *socket {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.socket
}

// connect connects, and resumes what the client wants.
func (v *visitor) connect() {
	if v.current() != nil {
		return
	}
	v.opens()
	ours, theirs := net.Pipe()
	s := &socket{
		of: v, raw: ours, ended: make(chan struct{}), reads: make(chan struct{}), sends: make(chan *edgev1.ClientFrame, 100), asked: map[uint32]*edgev1.Subscribe{},
	}
	close(s.reads)
	for _, a := range v.machine.addresses {
		if v.wanted(a) {
			s.first = append(s.first, &edgev1.Subscribe{Address: a.String(), After: v.resumes(a)})
		}
	}
	s.send(&edgev1.ClientFrame{Command: &edgev1.ClientFrame_Connect{Connect: &edgev1.Connect{Token: v.token, Subscriptions: s.first}}})
	v.mu.Lock()
	v.socket = s
	v.mu.Unlock()
	go serve(v.machine.edge.Handler(edge.Route{Dialects: v.machine.dialects}), theirs)
	go s.run()
}

// serve serves one handshake, as net/http does.
func serve(h http.Handler, conn net.Conn) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		_ = conn.Close()
		return
	}
	r.RemoteAddr = "192.0.2.1:1000"
	h.ServeHTTP(&response{conn: conn, in: in}, r)
}

// response is what a handler answers with. An answer other than an upgrade ends the connection.
type response struct {
	conn net.Conn
	in   *bufio.Reader
}

func (*response) Header() http.Header           { return http.Header{} }
func (r *response) WriteHeader(int)             { _ = r.conn.Close() }
func (r *response) Write(b []byte) (int, error) { return len(b), r.conn.Close() }

// Hijack hands the connection over.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return r.conn, bufio.NewReadWriter(r.in, bufio.NewWriter(r.conn)), nil
}

func (s *socket) send(f *edgev1.ClientFrame) {
	s.ids++
	f.Id = s.ids
	s.asked[s.ids] = f.GetSubscribe()
	select {
	case s.sends <- f:
	default: // the connection is full
	}
}

// run is over when the connection is.
func (s *socket) run() {
	defer func() {
		_ = s.raw.Close()
		s.of.closed()
		s.of.mu.Lock()
		s.of.socket = nil
		s.of.mu.Unlock()
		close(s.ended)
	}()
	at, _ := url.Parse("ws://edge/v1/ws")
	ws, _, err := websocket.NewClient(s.raw, at, http.Header{"Sec-Websocket-Protocol": {native.SubprotocolProto}}, 4096, 4096) //nolint:bodyclose,staticcheck // it takes a connection, and the answer has no body
	if err != nil {
		return
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	over := make(chan struct{})
	defer close(over)
	writing.Go(func() {
		for {
			select {
			case f := <-s.sends:
				b, _ := proto.Marshal(f)
				if ws.WriteMessage(websocket.BinaryMessage, b) != nil {
					return
				}
			case <-over:
				return
			}
		}
	})
	for {
		s.of.mu.Lock()
		reads := s.reads
		s.of.mu.Unlock()
		<-reads
		_, b, err := ws.ReadMessage()
		if err != nil {
			s.of.w.note("the connection of %s ends: %v", s.of.who, strings.TrimPrefix(err.Error(), "websocket: "))
			_ = s.raw.Close()
			return
		}
		f := new(edgev1.ServerFrame)
		if err := proto.Unmarshal(b, f); err != nil {
			s.of.w.ledger.Wrong("a frame that cannot be read: %v", err)
			return
		}
		s.take(f)
	}
}

// take takes an answer or an event.
func (s *socket) take(f *edgev1.ServerFrame) {
	s.of.mu.Lock()
	asked := s.asked[f.GetId()]
	s.of.mu.Unlock()
	switch e := f.GetEvent().(type) {
	case *edgev1.ServerFrame_Connected:
		for i, one := range e.Connected.GetSubscriptions() {
			if answer := one.GetSubscribed(); answer != nil {
				s.of.subscribed(answer, s.first[i].GetAfter())
			}
		}
		s.of.mu.Lock()
		s.open = true
		s.of.mu.Unlock()
	case *edgev1.ServerFrame_Subscribed:
		s.of.answered(asked.GetAddress())
		s.of.subscribed(e.Subscribed, asked.GetAfter())
	case *edgev1.ServerFrame_Message:
		s.of.message(e.Message)
	case *edgev1.ServerFrame_Gap:
		s.of.gap(e.Gap)
	case *edgev1.ServerFrame_Unsubscribed:
		s.of.left(e.Unsubscribed.GetAddress())
	case *edgev1.ServerFrame_Error:
		s.of.w.note("%s is refused: %s", s.of.who, e.Error.GetReason())
		if asked != nil {
			s.of.answered(asked.GetAddress())
		}
	}
}

func (v *visitor) subscribe(a bus.Address) {
	after := v.resumes(a)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.socket
	if s == nil || !s.open {
		return // the next connect asks for it
	}
	if _, asks := v.asks[a]; !asks && !v.follows[a] {
		v.asks[a] = time.Now()
		s.send(&edgev1.ClientFrame{Command: &edgev1.ClientFrame_Subscribe{Subscribe: &edgev1.Subscribe{Address: a.String(), After: after}}})
	}
}

func (v *visitor) unsubscribe(a bus.Address) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.socket; s != nil && s.open && v.follows[a] {
		delete(v.wants, a)
		s.send(&edgev1.ClientFrame{Command: &edgev1.ClientFrame_Unsubscribe{Unsubscribe: &edgev1.Unsubscribe{Address: a.String()}}})
	}
}

// close ends the connection without a goodbye.
func (v *visitor) close() {
	if s := v.current(); s != nil {
		v.stall(false)
		_ = s.raw.Close()
		<-s.ended
	}
}

// stall makes the client read no more, or go on.
func (v *visitor) stall(still bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.socket
	if s == nil {
		return
	}
	select {
	case <-s.reads:
		if still {
			v.stalled, s.reads = true, make(chan struct{})
		}
	default:
		if !still {
			close(s.reads)
		}
	}
}
