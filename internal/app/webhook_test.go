package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("7fQ2mB9xKc4Lw8Zr1Tn6Vy3Hs5Jd0Pg2"))

// Two publish services over one Redis send to one webhook: each event once and in order, also when one of them stops.
func TestRun_Webhook(t *testing.T) {
	taken := make(chan string, 1000) // the clients, in order
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Data struct{ Client string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("headers %v, %v", r.Header, err)
		}
		taken <- body.Data.Client
	}))
	defer receiver.Close()
	h := apptest.Start(t, apptest.Redis(redistest.Start(t).URL()), apptest.Split(1), apptest.With(func(c *config.Config) {
		c.Hooks.Events.Enabled = true
		c.Hooks.Webhooks = []config.Webhook{{
			Name: "test", URL: receiver.URL, Secrets: []config.Secret{config.Secret(webhookSecret)}, AllowPrivate: true, Kinds: []string{"connected"},
		}}
	}))
	connect := func(name string) {
		t.Helper()
		token := h.Token(t, &authv1.IssueTokenRequest{Client: name})
		h.Connect(t, client.Config{Token: func(context.Context) (string, error) { return token, nil }})
	}
	expect := func(name string) bool {
		t.Helper()
		select {
		case got := <-taken:
			return got == name
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not come", name)
			return false
		}
	}
	n := 0
	for ; len(taken) == 0; n++ { // a new webhook begins when its sender does
		connect(fmt.Sprint("first", n))
	}
	for !expect(fmt.Sprint("first", n-1)) {
	}
	first := h.Processes[1]
	another := first.Config
	another.Node = ""
	h.Start(t, another)
	for _, phase := range []string{"a", "b"} {
		for i := range 5 {
			connect(fmt.Sprint(phase, i))
		}
		for i := range 5 {
			if !expect(fmt.Sprint(phase, i)) {
				t.Fatalf("%s%d is not the next", phase, i)
			}
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if len(taken) > 0 {
		t.Errorf("%s comes too", <-taken)
	}
}
