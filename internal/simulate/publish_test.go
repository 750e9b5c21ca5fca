package simulate_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/simulate"
	"github.com/trunkline/trunkline/services/publish"
)

// streams are clients of the gRPC method Subscribe.
var streams = kind{
	plan: simulate.Plan{
		Machine: "streams", Least: 5, Most: 40,
		Settings: []simulate.Verb{{Do: "little", Most: 4}, {Do: "length", Most: 4}, {Do: "addresses", Most: 2}},
		First:    []simulate.Step{{Do: "subscribe", N: 0}},
		Verbs: append(slices.Clone(environment), []simulate.Verb{
			{Do: "subscribe", Weight: 8, Most: 8},
			{Do: "unsubscribe", Weight: 2, Most: 8},
			{Do: "close", Weight: 3, Most: 2},
			{Do: "stall", Weight: 2, Most: 2},
			{Do: "go on", Weight: 3, Most: 2},
		}...),
	},
	rest: 4 * time.Second, rounds: true,
	make: func(tb testing.TB, w *world) machine {
		cfg := publish.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: bus.Retention{Length: 1000, Age: 1000 * time.Hour}}}}
		if n, ok := w.schedule.Setting("little"); ok {
			cfg.StreamQueue = 1 + n
		}
		server, err := publish.New(newWhole(w.store), cfg)
		if err != nil {
			tb.Fatal(err)
		}
		m := &streamMachine{world: w, server: server}
		for _, who := range []string{"ann", "bob", "cho"} {
			m.all = append(m.all, &subscriber{client: newClient(w, who), machine: m})
		}
		return m
	},
}

// streamMachine is a publish service and its subscribers.
type streamMachine struct {
	*world
	server *publish.Server
	ctx    context.Context
	all    []*subscriber
}

func (m *streamMachine) run(ctx context.Context) error {
	m.ctx = ctx
	defer func() {
		for _, s := range m.all {
			s.close()
		}
	}()
	return m.server.Run(ctx)
}

func (m *streamMachine) step(s simulate.Step) {
	one := m.all[s.N%len(m.all)]
	a := m.address(s.N / len(m.all))
	switch s.Do {
	case "subscribe":
		one.subscribe(a)
	case "unsubscribe":
		one.send(&publishv1.SubscribeRequest{Command: &publishv1.SubscribeRequest_Unsubscribe{Unsubscribe: &publishv1.UnsubscribeCommand{Address: a.String()}}})
		one.forget(a)
	case "close":
		one.close()
	case "stall":
		one.stall(true)
	case "go on":
		one.stall(false)
	}
}

func (m *streamMachine) settle() {
	for _, s := range m.all {
		s.stall(false)
	}
	m.rest(m.pause())
	for range 3 { // a retry may be refused while the stream carries out what came before
		for _, s := range m.all {
			for _, a := range s.finished() {
				s.subscribe(a)
			}
		}
		m.rest(m.pause())
	}
	for _, a := range m.addresses {
		m.ledger.Publish(a)
	}
	m.rest(m.pause())
	for _, s := range m.all {
		if missing := s.finished(); len(missing) > 0 {
			m.ledger.Wrong("deaf: %s cannot follow %v", s.who, missing)
		}
	}
	m.restless()
}

// subscriber is one client of Subscribe. Its stream is what gRPC makes of the connection: commands and answers wait in it.
type subscriber struct {
	*client
	machine *streamMachine
	stream  *stream // nil while there is none
}

// stream is the server's end.
type stream struct {
	grpc.ServerStream
	of       *subscriber
	ctx      context.Context
	cancel   context.CancelFunc
	ended    chan struct{}
	commands chan *publishv1.SubscribeRequest
	stalled  chan struct{} // closed when the client reads
	asked    map[uint64]*publishv1.ConsumeRequest
	sequence uint64
}

func (s *subscriber) open() *stream {
	s.mu.Lock()
	open := s.stream
	s.mu.Unlock()
	if open != nil || s.machine.ctx.Err() != nil {
		return open
	}
	s.opens()
	ctx, cancel := context.WithCancel(rpc.WithCaller(s.machine.ctx, rpc.Backend("back end", rpc.ScopeAll)))
	reads := make(chan struct{})
	close(reads)
	st := &stream{
		of: s, ctx: ctx, cancel: cancel, ended: make(chan struct{}), commands: make(chan *publishv1.SubscribeRequest, 100), stalled: reads,
		asked: map[uint64]*publishv1.ConsumeRequest{},
	}
	s.mu.Lock()
	s.stream = st
	s.mu.Unlock()
	go func() {
		defer close(st.ended)
		_ = s.machine.server.Subscribe(st)
		cancel() // as gRPC does
		s.closed()
		s.mu.Lock()
		s.stream = nil
		s.mu.Unlock()
	}()
	return st
}

// close ends the stream, and waits for that.
func (s *subscriber) close() {
	s.mu.Lock()
	st := s.stream
	s.mu.Unlock()
	if st != nil {
		st.cancel()
		<-st.ended
	}
}

func (s *subscriber) subscribe(a bus.Address) {
	s.mu.Lock()
	_, asks := s.asks[a]
	busy := asks || s.follows[a]
	if !busy {
		s.asks[a] = time.Now()
	}
	s.mu.Unlock()
	if !busy {
		s.send(&publishv1.SubscribeRequest{Command: &publishv1.SubscribeRequest_Subscribe{
			Subscribe: &publishv1.ConsumeRequest{Address: a.String(), After: s.resumes(a)},
		}})
	}
}

func (s *subscriber) send(c *publishv1.SubscribeRequest) {
	st := s.open()
	if st == nil {
		return
	}
	s.mu.Lock()
	st.sequence++
	c.Sequence = st.sequence
	st.asked[st.sequence] = c.GetSubscribe()
	s.mu.Unlock()
	select {
	case st.commands <- c:
	default: // the connection is full
	}
}

// forget ends what the client wants.
func (s *subscriber) forget(a bus.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wants, a)
}

// stall makes the client read no more, or go on.
func (s *subscriber) stall(still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return
	}
	select {
	case <-s.stream.stalled:
		if still {
			s.stalled, s.stream.stalled = true, make(chan struct{})
		}
	default:
		if !still {
			close(s.stream.stalled)
		}
	}
}

// Context is the stream's.
func (st *stream) Context() context.Context { return st.ctx }

// SendHeader is not looked at.
func (st *stream) SendHeader(metadata.MD) error { return nil }

// Recv returns the next command.
func (st *stream) Recv() (*publishv1.SubscribeRequest, error) {
	select {
	case c := <-st.commands:
		return c, nil
	case <-st.ctx.Done():
		return nil, st.ctx.Err()
	}
}

// Send takes an answer or an event. It waits while the client does not read.
func (st *stream) Send(r *publishv1.SubscribeResponse) error {
	st.of.mu.Lock()
	stalled, asked := st.stalled, st.asked[r.GetSequence()]
	st.of.mu.Unlock()
	select {
	case <-stalled:
	case <-st.ctx.Done():
		return st.ctx.Err()
	}
	switch e := r.GetEvent().(type) {
	case *publishv1.SubscribeResponse_Subscribed:
		st.of.answered(asked.GetAddress())
		st.of.subscribed(e.Subscribed, asked.GetAfter())
	case *publishv1.SubscribeResponse_Message:
		st.of.message(e.Message)
	case *publishv1.SubscribeResponse_Gap:
		st.of.gap(e.Gap)
	case *publishv1.SubscribeResponse_Unsubscribed:
		st.of.left(e.Unsubscribed.GetAddress())
	case *publishv1.SubscribeResponse_Error:
		if a := asked.GetAddress(); a != "" {
			st.of.answered(a)
			st.of.w.note("%s is refused %s: %s", st.of.who, a, e.Error.GetReason())
			st.of.left(a)
		}
	}
	return nil
}
