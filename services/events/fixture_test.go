package events_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/rpctest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var keep = bus.Retention{Length: 1000, Age: time.Hour}

// fixture is the real service over the memory store, called through a real gRPC server.
type fixture struct {
	tb     testing.TB
	store  *memory.Store
	events hooksv1.EventServiceClient
	stop   func()
	reg    *prometheus.Registry
}

func start(tb testing.TB, store *memory.Store, cfg events.Config, keys ...rpc.APIKey) *fixture {
	tb.Helper()
	return startWith(tb, store, cfg, rpc.Config{Auth: rpc.AuthConfig{Keys: keys}})
}

func startWith(tb testing.TB, store *memory.Store, cfg events.Config, serving rpc.Config) *fixture {
	tb.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	reg := prometheus.NewRegistry()
	s, err := events.New(store, cfg, reg)
	testkit.Check(tb, err)
	server := rpctest.New(tb)
	stop := server.Run(serving, []rpctest.Service{s}, s.Run)
	return &fixture{tb: tb, store: store, events: hooksv1.NewEventServiceClient(server.Conn), stop: stop, reg: reg}
}

func on() events.Config { return events.Config{Namespaces: bus.Namespaces{Events: keep}} }

func newStore() *memory.Store { return memory.New(memory.Config{Events: keep}) }

// write puts an event of the kind into the log and returns its position.
func (h *fixture) write(kind bus.EventKind, name string) bus.Position {
	h.tb.Helper()
	e := bus.Event{ID: bus.EventID(name), Kind: kind, Millis: time.Now().UnixMilli(), Connection: name, Client: "c-" + name}
	r, err := h.store.Publish(h.tb.Context(), bustest.Admit(e.Publication(keep)))
	testkit.Check(h.tb, err)
	return r.Position
}

type stream struct {
	tb testing.TB
	grpc.ServerStreamingClient[hooksv1.WatchEventsResponse]
}

func (h *fixture) watch(ctx context.Context, req *hooksv1.WatchEventsRequest) stream {
	h.tb.Helper()
	ctx, cancel := context.WithCancel(ctx)
	h.tb.Cleanup(cancel)
	st, err := h.events.WatchEvents(ctx, req)
	testkit.Check(h.tb, err)
	s := stream{h.tb, st}
	if s.next().GetWatched() == nil {
		h.tb.Fatal("watched does not come first")
	}
	return s
}

func (s stream) next() *hooksv1.WatchEventsResponse {
	s.tb.Helper()
	r, err := s.Recv()
	testkit.Check(s.tb, err)
	return r
}

func (s stream) event() *hooksv1.Event {
	s.tb.Helper()
	for {
		r := s.next()
		if r.GetHeartbeat() != nil {
			continue
		}
		if r.GetEvent() == nil {
			s.tb.Fatalf("not an event: %v", r)
		}
		return r.GetEvent()
	}
}

func refused(tb testing.TB, err error, want *bus.Error) {
	tb.Helper()
	if e := rpc.FromError(err); e == nil || !errors.Is(e, want) {
		tb.Fatalf("error is %v, want %s", err, want.Reason)
	}
}
