package edge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge"
)

// doorman refuses whom and what it is told to.
type doorman map[string]bool

// Authorize decides.
func (d doorman) Authorize(_ context.Context, q bus.Question) error {
	if q.Action == bus.Connect && d[q.Identity.User] {
		return bus.ErrPermissionDenied.With("not today", map[string]string{"by": "authorizer"})
	}
	if q.Action != bus.Connect && d[q.Address.String()] {
		return bus.Denied(q.Action, q.Address)
	}
	return nil
}

// What the authorizer refuses is refused at every command, although the token grants it; one's own addresses are one's own.
func TestAuthorizer_isAskedAfterTheGrants(t *testing.T) {
	h := start(t, edge.Config{Authorizer: doorman{"eve": true, "channels/secret": true, "users/ada": true}})
	eve := h.dial("")
	eve.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, h.token("eve", everything)))
	if code, text := eve.closed(); code != 4403 || text != "PERMISSION_DENIED" {
		t.Errorf("eve was closed with %d %s", code, text)
	}
	c := h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q,"subscriptions":[{"address":"channels/secret"},{"address":"channels/news"}]}}`, h.token("ada", everything)))
	connected, _ := c.read()["connected"].(map[string]any)
	if got := fmt.Sprint(connected["subscriptions"]); len(got) == 0 || !strings.Contains(got, "CHANNEL_SUBSCRIBE_DENIED") || !strings.Contains(got, "address:channels/news") {
		t.Errorf("subscriptions are %s", got)
	}
	for command, reason := range map[string]string{
		`{"id":2,"subscribe":{"address":"channels/secret"}}`: "CHANNEL_SUBSCRIBE_DENIED",
		`{"id":3,"publish":{"to":"channels/secret"}}`:        "CHANNEL_PUBLISH_DENIED",
	} {
		c.send(command)
		e, _ := c.read()["error"].(map[string]any)
		if e["reason"] != reason {
			t.Errorf("%s was answered with %v", command, e)
		}
	}
	h.pub("channels/secret", `"hidden"`)
	h.pub("users/ada", `"own"`)
	h.pub("channels/news", `"open"`)
	for _, want := range []string{"own", "open"} {
		if m := c.message(); m["data"] != want {
			t.Errorf("got %v, want %s", m, want)
		}
	}
}
