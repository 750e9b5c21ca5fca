package hooks_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is an authorizer as a user would write it.
type service struct {
	hooksv1.UnimplementedAuthorizerServiceServer
	calls  atomic.Int64
	decide func(client, address string) *hooksv1.Decision
	gate   chan struct{} // waits for it to be closed; nil for no wait
}

func (s *service) answer(ctx context.Context, who *hooksv1.Subject, address string) *hooksv1.Decision {
	s.calls.Add(1)
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
		}
	}
	return s.decide(who.GetClient(), address)
}

// AuthorizeConnect decides.
func (s *service) AuthorizeConnect(ctx context.Context, r *hooksv1.AuthorizeConnectRequest) (*hooksv1.AuthorizeConnectResponse, error) {
	return &hooksv1.AuthorizeConnectResponse{Decision: s.answer(ctx, r.GetSubject(), "")}, nil
}

// AuthorizeSubscribe decides.
func (s *service) AuthorizeSubscribe(ctx context.Context, r *hooksv1.AuthorizeSubscribeRequest) (*hooksv1.AuthorizeSubscribeResponse, error) {
	return &hooksv1.AuthorizeSubscribeResponse{Decision: s.answer(ctx, r.GetSubject(), r.GetAddress())}, nil
}

// AuthorizePublish decides.
func (s *service) AuthorizePublish(ctx context.Context, r *hooksv1.AuthorizePublishRequest) (*hooksv1.AuthorizePublishResponse, error) {
	return &hooksv1.AuthorizePublishResponse{Decision: s.answer(ctx, r.GetSubject(), r.GetAddress())}, nil
}

// serve starts the service and an authorizer that asks it; stop ends the service.
func serve(t *testing.T, s *service, cfg hooks.Config) (a *hooks.Authorizer, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	server := grpc.NewServer()
	hooksv1.RegisterAuthorizerServiceServer(server, s)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Check(t, err)
	stop = sync.OnceFunc(func() { server.Stop(); done.Wait() })
	t.Cleanup(func() { _ = conn.Close(); stop() })
	a, err = hooks.New(conn, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	testkit.Check(t, err)
	return a, stop
}

func question(t *testing.T, action bus.Action, client, address string) bus.Question {
	t.Helper()
	q := bus.Question{Action: action, Identity: &bus.Identity{Client: client, TokenID: "t-" + client}}
	if address != "" {
		a, err := bus.ParseAddress(address)
		testkit.Check(t, err)
		q.Address = a
	}
	return q
}

func TestAuthorizer_decidesAndRemembers(t *testing.T) {
	s := &service{decide: func(client, address string) *hooksv1.Decision {
		return &hooksv1.Decision{Allowed: client != "eve" && address != "channels/secret", Reason: "not\nyou " + strings.Repeat("é", 200)}
	}}
	a, _ := serve(t, s, hooks.Config{Cache: time.Hour})
	for range 3 {
		testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Connect, "ada", "")))
		testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Subscribe, "ada", "channels/news")))
		err := a.Authorize(t.Context(), question(t, bus.Connect, "eve", ""))
		if !errors.Is(err, bus.ErrPermissionDenied) {
			t.Errorf("eve: %v", err)
		}
		var e *bus.Error
		err = a.Authorize(t.Context(), question(t, bus.Publish, "ada", "channels/secret"))
		if !errors.As(err, &e) || !errors.Is(err, bus.ErrPublishDenied) || e.Metadata["by"] != "authorizer" || e.Metadata["address"] != "channels/secret" {
			t.Fatalf("secret: %v", err)
		}
		if len(e.Message) > 256 || strings.Contains(e.Message, "\n") || !strings.HasPrefix(e.Message, "not you é") {
			t.Errorf("the reason is %q", e.Message)
		}
	}
	if n := s.calls.Load(); n != 4 {
		t.Errorf("the service was called %d times for 4 questions", n)
	}
}

func TestAuthorizer_believesNoLongerThanItIsTold(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision {
		return &hooksv1.Decision{Allowed: true, CacheFor: durationpb.New(0)}
	}}
	a, _ := serve(t, s, hooks.Config{Cache: time.Hour})
	for range 3 {
		testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Connect, "ada", "")))
	}
	if n := s.calls.Load(); n != 3 {
		t.Errorf("the service was called %d times", n)
	}
}

func TestAuthorizer_sharesCalls(t *testing.T) {
	s := &service{gate: make(chan struct{}), decide: func(string, string) *hooksv1.Decision { return &hooksv1.Decision{Allowed: true} }}
	a, _ := serve(t, s, hooks.Config{Timeout: 20 * time.Second})
	const callers = 50
	errs := make(chan error, callers)
	var started, all sync.WaitGroup
	started.Add(callers)
	for range callers {
		all.Go(func() {
			started.Done()
			errs <- a.Authorize(t.Context(), question(t, bus.Subscribe, "ada", "channels/news"))
		})
	}
	started.Wait()
	// One of them gives up; the others are not hurt by it.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Authorize(gone, question(t, bus.Subscribe, "ada", "channels/news")); !errors.Is(err, bus.ErrAuthorizerAway) {
		t.Errorf("who gave up got %v", err)
	}
	close(s.gate)
	all.Wait()
	close(errs)
	for err := range errs {
		testkit.Check(t, err)
	}
	if n := s.calls.Load(); n > 2 { // a late one may find the flight over and the cache not written
		t.Errorf("the service was called %d times", n)
	}
}

func TestAuthorizer_failsAsItIsTold(t *testing.T) {
	for _, open := range []bool{false, true} {
		s := &service{decide: func(string, string) *hooksv1.Decision { return nil }}
		a, stop := serve(t, s, hooks.Config{FailOpen: open, Timeout: 5 * time.Second})
		for _, state := range []string{"it answers without a decision", "it is away"} {
			err := a.Authorize(t.Context(), question(t, bus.Connect, "ada", ""))
			if open && err != nil || !open && !errors.Is(err, bus.ErrAuthorizerAway) {
				t.Errorf("open %t, %s: %v", open, state, err)
			}
			stop()
		}
	}
}

func TestAuthorizer_asksWhatItIsTold(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision { return &hooksv1.Decision{} }}
	a, _ := serve(t, s, hooks.Config{Publish: true})
	testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Connect, "ada", "")))
	testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Subscribe, "ada", "channels/news")))
	if err := a.Authorize(t.Context(), question(t, bus.Publish, "ada", "channels/news")); !errors.Is(err, bus.ErrPublishDenied) {
		t.Errorf("publish: %v", err)
	}
}

// AuthorizeDeliver decides.
func (s *service) AuthorizeDeliver(ctx context.Context, r *hooksv1.AuthorizeDeliverRequest) (*hooksv1.AuthorizeDeliverResponse, error) {
	return &hooksv1.AuthorizeDeliverResponse{Decision: s.answer(ctx, r.GetSubject(), r.GetAddress()+" "+r.GetMessageId()+" "+r.GetAttributes()["kind"])}, nil
}

// Deliveries are asked about only when that was said; each message of each device is a question of its own.
func TestAuthorizer_deliver(t *testing.T) {
	s := &service{decide: func(client, what string) *hooksv1.Decision {
		return &hooksv1.Decision{Allowed: client == "phone" && what == "users/ada m1 bill", Reason: what}
	}}
	ask := func(a *hooks.Authorizer, client, id string) error {
		q := question(t, bus.Deliver, client, "users/ada")
		q.Message = &bus.Message{ID: id, To: q.Address, Attributes: map[string]string{"kind": "bill"}}
		return a.Authorize(t.Context(), q)
	}
	silent, _ := serve(t, s, hooks.Config{})
	testkit.Check(t, ask(silent, "desk", "m1"))
	if silent.AsksDeliver() || s.calls.Load() != 0 {
		t.Errorf("%d calls", s.calls.Load())
	}
	a, _ := serve(t, s, hooks.Config{Deliver: true, Cache: time.Hour})
	if !a.AsksDeliver() {
		t.Error("it is not asked")
	}
	testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Connect, "ada", ""))) // not asked about
	for range 2 {
		testkit.Check(t, ask(a, "phone", "m1"))
		var e *bus.Error
		if err := ask(a, "phone", "m2"); !errors.As(err, &e) || !errors.Is(err, bus.ErrPermissionDenied) || e.Message != "users/ada m2 bill" || e.Metadata["by"] != "authorizer" {
			t.Errorf("another message: %v", err)
		}
		if err := ask(a, "desk", "m1"); !errors.Is(err, bus.ErrPermissionDenied) {
			t.Errorf("another device: %v", err)
		}
	}
	if n := s.calls.Load(); n != 3 {
		t.Errorf("the service was called %d times for 3 questions", n)
	}
}
