package app_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
)

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
	ready := func(status int, text string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Internal+"/readyz?verbose", nil)
			code, body := do(t, req)
			if code == status && strings.Contains(body, text) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("readiness is %d %s, want %d %s", code, body, status, text)
			}
			<-tick.C
		}
	}
	publish := func(to string) error {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(`"x"`)})
		return err
	}
	ready(http.StatusOK, "")
	need("1")
	ready(http.StatusServiceUnavailable, "store: Redis refuses writes: fewer replicas are in step than its min-replicas-to-write asks for")
	if err := publish("channels/demo"); !errors.Is(rpc.FromError(err), bus.ErrReplicasMissing) || rpc.FromError(err).RetryAfter == 0 {
		t.Errorf("publish: %v", err)
	}
	if err := publish("groups/g1"); err != nil {
		t.Errorf("publish live: %v", err)
	}
	got.next(t)
	need("0")
	ready(http.StatusOK, "")
	if err := publish("channels/demo"); err != nil {
		t.Errorf("publish: %v", err)
	}
}
