package client_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
)

// Presence is told over reconnects too; with a token that does not grant it any more the messages go on without.
func TestClient_Presence(t *testing.T) {
	h := apptest.Start(t)
	k := newLink(t, h.HTTP)
	token := func(actions ...authv1.Action) *string {
		all := append([]authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}, actions...)
		text := h.Token(t, &authv1.IssueTokenRequest{Client: "watcher", Grants: []*authv1.Grant{{Address: "channels/demo", Actions: all}}})
		return &text
	}
	var current atomic.Pointer[string]
	current.Store(token(authv1.Action_ACTION_PRESENCE))
	cfg, e := recording(client.Config{URL: k.URL(), Token: func(context.Context) (string, error) { return *current.Load(), nil }})
	cfg.OnPresence = func(p *publishv1.PresenceEvent) {
		for _, change := range p.GetChanges() {
			e <- strings.TrimPrefix(change.GetKind().String(), "KIND_") + " " + change.GetMember().GetClient()
		}
	}
	cfg.OnUnsubscribed = func(address string, err error) { t.Errorf("%s was unsubscribed: %v", address, err) }
	c := h.Connect(t, cfg)
	if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo", Presence: true}); err != nil {
		t.Fatal(err)
	}
	e.want(t, "connected", "JOINED watcher")
	visit := func(name string) *client.Client {
		t.Helper()
		other := h.Connect(t, client.Config{Token: func(context.Context) (string, error) {
			return h.Token(t, &authv1.IssueTokenRequest{Client: name}, "channels/*"), nil
		}})
		if _, err := other.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
			t.Fatal(err)
		}
		return other
	}
	bob := visit("bob")
	e.want(t, "JOINED bob")
	k.Cut()
	e.want(t, "disconnected")
	k.Mend()
	drop(t, e, "connected")
	if err := bob.Unsubscribe(t.Context(), "channels/demo"); err != nil {
		t.Fatal(err)
	}
	e.want(t, "LEFT bob")

	current.Store(token())
	k.Cut()
	e.want(t, "disconnected")
	publish(t, h, 1, 1)
	k.Mend()
	drop(t, e, "1")
	visit("carol")
	publish(t, h, 2, 2)
	e.want(t, "2")
}
