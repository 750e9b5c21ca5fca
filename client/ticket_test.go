package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

// sealing has an edge give tickets.
func sealing(key string) apptest.Option {
	return apptest.With(func(c *config.Config) {
		c.Edge.Tickets.Keys = []config.Secret{config.Secret(base64.StdEncoding.EncodeToString([]byte(key)))}
	})
}

// A client comes back by its ticket without asking for a token; where the ticket is not known, it asks for one.
func TestClient_ComesBackByTicket(t *testing.T) {
	first := apptest.Start(t, sealing("one key of two, of thirty-two b."))
	second := apptest.Start(t, sealing("another, which does not open it."))
	link := newLink(t, first.Edges[0])
	var deployment atomic.Pointer[apptest.Deployment]
	deployment.Store(first)
	var mu sync.Mutex
	var asked int
	var lost []error
	tokens := func() int {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
	cfg, e := recording(client.Config{URL: link.URL(), Token: func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return deployment.Load().Token(t, &authv1.IssueTokenRequest{Client: "c1"}, "channels/*"), nil
	}})
	cfg.OnDisconnected = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		lost = append(lost, err)
	}
	first.Connect(t, cfg)
	e.want(t, "connected")
	again := func() (asked int) {
		before := tokens()
		link.Cut()
		link.Mend()
		e.want(t, "connected")
		return tokens() - before
	}
	// The first answers of an edge may come before it knows that it hears revocations, without a ticket.
	for try := 0; again() != 0; try++ {
		if try == 100 {
			t.Fatal("there is no ticket")
		}
	}
	if n := again(); n != 0 {
		t.Errorf("a token was asked for %d times", n)
	}
	before := tokens()
	link.Cut()
	deployment.Store(second)
	link.Turn(second.Edges[0])
	link.Mend()
	e.want(t, "connected")
	mu.Lock()
	defer mu.Unlock()
	if asked != before+1 {
		t.Errorf("a token was asked for %d times, want once", asked-before)
	}
	if last := lost[len(lost)-1].Error(); !strings.Contains(last, "TICKET_INVALID") {
		t.Errorf("the last disconnect was %s", last)
	}
}

// The newest ticket counts: after a refresh it is one of the new token, which may do more.
func TestClient_KeepsTheNewestTicket(t *testing.T) {
	for _, spelling := range []string{"protobuf", "JSON"} {
		t.Run(spelling, func(t *testing.T) {
			h := apptest.Start(t, sealing("one key of two, of thirty-two b."))
			link := newLink(t, h.Edges[0])
			token := h.Token(t, &authv1.IssueTokenRequest{Client: "c1"}, "channels/first")
			var asked atomic.Int64
			cfg, e := recording(client.Config{URL: link.URL(), JSON: spelling == "JSON", Token: func(context.Context) (string, error) {
				asked.Add(1)
				return token, nil
			}})
			c := h.Connect(t, cfg)
			e.want(t, "connected")
			for try := 0; ; try++ { // as in TestClient_ComesBackByTicket
				before := asked.Load()
				link.Cut()
				link.Mend()
				drop(t, e, "connected")
				if asked.Load() == before {
					break
				}
				if try == 100 {
					t.Fatal("there is no ticket")
				}
			}
			refused := &client.Error{Reason: "CHANNEL_SUBSCRIBE_DENIED"}
			if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/second"}); !errors.Is(err, refused) {
				t.Fatalf("the old token: %v", err)
			}
			if err := c.Refresh(t.Context(), h.Token(t, &authv1.IssueTokenRequest{Client: "c1"}, "channels/second")); err != nil {
				t.Fatal(err)
			}
			if err := c.Ping(t.Context()); err != nil { // what came before its answer has been read
				t.Fatal(err)
			}
			before := asked.Load()
			link.Cut()
			link.Mend()
			drop(t, e, "disconnected")
			drop(t, e, "connected")
			if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/second"}); err != nil {
				t.Errorf("by the newest ticket: %v", err)
			}
			if n := asked.Load() - before; n != 0 {
				t.Errorf("a token was asked for %d times", n)
			}
		})
	}
}
