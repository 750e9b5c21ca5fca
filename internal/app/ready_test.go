package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
)

// readiness waits until /readyz answers with a status and a text.
func readiness(tb testing.TB, h *apptest.Deployment, status int, text string) {
	tb.Helper()
	readinessAt(tb, h.Internal, status, text)
}

func readinessAt(tb testing.TB, internal string, status int, text string) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, _ := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+internal+"/readyz?verbose", nil)
		code, body := do(tb, req)
		if code == status && strings.Contains(body, text) {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("readiness is %d %s, want %d %s", code, body, status, text)
		}
		<-tick.C
	}
}

// A Redis that cannot give what a namespace asks for is told.
func TestReady_saysThatFsyncedCannotBeHad(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	h := apptest.Start(t, apptest.Redis(server.URL()), apptest.With(func(c *config.Config) { c.Channels.Defaults.Durability = "fsynced" }))
	if out, err := server.CLI("config", "set", "appendonly", "no"); err != nil {
		t.Fatal(out, err)
	}
	readiness(t, h, http.StatusServiceUnavailable, "store: FSYNCED needs a Redis with appendonly yes") // within 10 s, for which it is believed
	_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte(`"x"`)})
	if !errors.Is(rpc.FromError(err), bus.ErrNotDurable) {
		t.Errorf("publish: %v", err)
	}
}

// A Redis that refuses writes is told by readiness and by every publish that needs one; live messages go on.
func TestReady_saysThatRedisRefusesWrites(t *testing.T) {
	server := redistest.Start(t)
	h := apptest.Start(t, apptest.Redis(server.URL()))
	got := make(inbox, 10)
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "c1", Groups: []string{"g1"}})
	h.Connect(t, client.Config{
		OnMessage: func(m *publishv1.Message) { got <- m }, Token: func(context.Context) (string, error) { return token, nil },
	})
	need := func(n string) {
		t.Helper()
		if out, err := server.CLI("config", "set", "min-replicas-to-write", n); err != nil {
			t.Fatal(out, err)
		}
	}
	publish := func(to string) error {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(`"x"`)})
		return err
	}
	readiness(t, h, http.StatusOK, "")
	need("1")
	readiness(t, h, http.StatusServiceUnavailable, "store: Redis refuses writes: fewer replicas are in step than its min-replicas-to-write asks for")
	if err := publish("channels/demo"); !errors.Is(rpc.FromError(err), bus.ErrReplicasMissing) || rpc.FromError(err).RetryAfter == 0 {
		t.Errorf("publish: %v", err)
	}
	if err := publish("groups/g1"); err != nil {
		t.Errorf("publish live: %v", err)
	}
	got.next(t)
	need("0")
	readiness(t, h, http.StatusOK, "")
	if err := publish("channels/demo"); err != nil {
		t.Errorf("publish: %v", err)
	}
}

// While durable publishes are refused for lack of memory, readiness is red and says which setting it is.
func TestReady_saysThatRedisIsFull(t *testing.T) {
	server := redistest.Start(t)
	h := apptest.Start(t, apptest.Redis(server.URL()))
	limit := func(bytes string) {
		t.Helper()
		if out, err := server.CLI("config", "set", "maxmemory", bytes); err != nil {
			t.Fatal(out, err)
		}
	}
	publish := func() error {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte(`"x"`)})
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	readiness(t, h, http.StatusOK, "")
	limit("1")
	readiness(t, h, http.StatusServiceUnavailable, "store: Redis uses as much memory as its maxmemory allows; nothing was done (STORAGE_FULL)")
	if err := publish(); err == nil || !errors.Is(rpc.FromError(err), bus.ErrStorageFull) {
		t.Errorf("publish: %v", err)
	}
	limit("0")
	readiness(t, h, http.StatusOK, "")
}

// A Redis that may throw messages away is refused at the start; one that begins to is told by readiness.
func TestRun_refusesARedisThatEvicts(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	cfg := app.Default()
	cfg.Dev, cfg.Redis.URL = true, config.Secret(server.URL())
	cfg.HTTP.Listen, cfg.GRPC.Listen, cfg.Internal.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := app.Run(ctx, cfg, app.Options{Log: io.Discard, Started: func(app.Running) {
		t.Error("it started")
		stop()
	}})
	var problems config.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "maxmemory-policy is allkeys-lru") {
		t.Errorf("run: %v", err)
	}
	h := apptest.Start(t, apptest.Redis(server.URL()), apptest.With(func(c *config.Config) { c.Redis.AllowEviction = true }))
	readiness(t, h, http.StatusOK, "")
	if out, err := server.CLI("config", "set", "maxmemory-policy", "noeviction"); err != nil {
		t.Fatal(out, err)
	}
	h = apptest.Start(t, apptest.Redis(server.URL()))
	readiness(t, h, http.StatusOK, "")
	if out, err := server.CLI("config", "set", "maxmemory-policy", "volatile-ttl"); err != nil {
		t.Fatal(out, err)
	}
	readiness(t, h, http.StatusServiceUnavailable, "store: Redis may throw messages away: its maxmemory-policy is volatile-ttl")
}

// An edge that can serve the connections that it has stays ready while the services are away, and says what is missing. A gateway
// without them is of no use.
func TestReady_ofAnEdgeWithoutTheServices(t *testing.T) {
	h := apptest.Start(t, apptest.Redis(redistest.Start(t).URL()), apptest.Split(1))
	auth, publish, gateway, edge := h.Processes[0], h.Processes[1], h.Processes[2], h.Processes[3]
	got := make(inbox, 10)
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "c1"}, "channels/*")
	c := h.Connect(t, client.Config{
		URL: h.Edges[0], OnMessage: func(m *publishv1.Message) { got <- m }, Token: func(context.Context) (string, error) { return token, nil },
	})
	if err := publish.Stop(); err != nil {
		t.Error(err)
	}
	readinessAt(t, gateway.Internal, http.StatusServiceUnavailable, "[-] upstream publish")
	readinessAt(t, edge.Internal, http.StatusOK, "[~] upstream publish: degraded")
	if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
		t.Errorf("subscribe: %v", err)
	}
	if err := auth.Stop(); err != nil {
		t.Error(err)
	}
	readinessAt(t, edge.Internal, http.StatusOK, "ready, degraded: upstream auth, upstream publish")
}
