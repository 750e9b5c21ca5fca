package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// ledger is a receiver of batches that counts events by kind, and whom they are about. While it is busy it takes nothing.
type ledger struct {
	*httptest.Server
	busy atomic.Bool
	mu   sync.Mutex
	got  map[string]int
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{got: make(map[string]int)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.busy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var body struct {
			Data []struct {
				Type string
				Data struct{ User, Address string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range body.Data {
			l.got[e.Type+" "+e.Data.User+e.Data.Address]++
		}
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *ledger) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got[what]
}

// flooding is a deployment with a small log of events, and a webhook.
type flooding struct {
	*apptest.Deployment
	hook *ledger
}

func startFlooding(t *testing.T, opts ...apptest.Option) flooding {
	t.Helper()
	l := newLedger(t)
	return flooding{apptest.Start(t, append(opts, apptest.With(func(c *config.Config) {
		c.Hooks.Events.Enabled, c.Hooks.Events.Length = true, 1000
		c.Hooks.Webhooks = []config.Webhook{{
			Name: "test", URL: l.URL, Secrets: []config.Secret{config.Secret(webhookSecret)}, AllowPrivate: true, Batch: 100,
		}}
	}))...), l}
}

// visit connects as a user and leaves.
func (f flooding) visit(t *testing.T, user string) {
	t.Helper()
	token := f.Token(t, &authv1.IssueTokenRequest{Client: user, User: user})
	c, err := client.New(client.Config{URL: f.Edges[0], Token: func(context.Context) (string, error) { return token, nil }})
	testkit.Check(t, err)
	run, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(run) }()
	testkit.Check(t, c.Ping(t.Context()))
	leave()
	testkit.Check(t, <-done)
}

// unanswered sends messages that nobody acknowledges, in parallel calls.
func unanswered(t *testing.T, service publishv1.PublishServiceClient, to string, n int) {
	t.Helper()
	policy := &publishv1.AckPolicy{Timeout: durationpb.New(100 * time.Millisecond), Keep: durationpb.New(time.Second)}
	batch := &publishv1.BatchPublishRequest{}
	for range n {
		batch.Requests = append(batch.Requests, &publishv1.PublishRequest{To: to, Data: []byte("1"), Ack: policy})
	}
	resp, err := service.BatchPublish(t.Context(), batch)
	testkit.Check(t, err)
	for _, r := range resp.GetResults() {
		if r.GetError() != nil {
			t.Fatal(r.GetError())
		}
	}
}

// While a webhook takes nothing, one client makes more events than the log has. Those of others are there all the same.
func TestEvents_aFloodOfOneLeavesTheOthers(t *testing.T) {
	apptest.Everywhere(t, startFlooding, func(t *testing.T, f flooding) {
		for n := 0; f.hook.count("connected first") == 0; n++ { // a new webhook begins when its sender does
			f.visit(t, "first")
		}
		f.hook.busy.Store(true)
		f.visit(t, "ada")
		unanswered(t, f.Publish, "users/ann", 3)
		token := f.Token(t, &authv1.IssueTokenRequest{Client: "mallory", User: "mallory"}, "users/away")
		mallory := publishv1.NewPublishServiceClient(apptest.Dial(t, f.GRPC, token))
		for range 4 {
			unanswered(t, mallory, "users/away", 500)
		}
		for range 80 {
			f.visit(t, "mallory")
		}
		unanswered(t, f.Publish, "users/ben", 3)
		f.visit(t, "bob")
		f.hook.busy.Store(false)
		want := map[string]int{"stored users/ann": 3, "expired users/ann": 3, "connected ada": 1, "disconnected ada": 1, "stored users/ben": 3, "expired users/ben": 3}
		testkit.Eventually(t, "the last one's events arrive", func() bool { return f.hook.count("expired users/ben") == 3 })
		for what, n := range want {
			if got := f.hook.count(what); got != n {
				t.Errorf("%s: %d, want %d", what, got, n)
			}
		}
		if n := f.hook.count("gap "); n > 0 {
			t.Errorf("%d gaps", n)
		}
		for _, kind := range []string{"connected mallory", "stored users/away"} {
			if n := f.hook.count(kind); n == 0 || n > 100 {
				t.Errorf("%s: %d are told, of a share of 100", kind, n)
			}
		}
	})
}
