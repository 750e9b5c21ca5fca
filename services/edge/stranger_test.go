package edge_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// strangers is a dialect that lets everybody in without a token.
type strangers struct{ native.JSON }

func (strangers) Name() string { return "strangers" }

func (strangers) Hello(*http.Request) (dialect.Hello, bool) {
	return dialect.Hello{
		Subprotocol: native.SubprotocolJSON, Connect: true,
		Identity: &bus.Identity{Client: "visitor", Expires: time.Now().Add(time.Hour), OutlivesLoss: true},
	}, true
}

// Somebody without a token is revoked like everybody else. The clocks of the edge and of the store may differ, and the revocation
// may fall into the millisecond of the connect.
func TestRevocation_endsStrangers(t *testing.T) {
	begin := time.Now().Truncate(time.Millisecond)
	for name, clock := range map[string]func() time.Time{
		"the store's clock is behind": func() time.Time { return time.Now().Add(-time.Minute) },
		"the same millisecond":        func() time.Time { return begin.Add(999 * time.Microsecond) },
	} {
		t.Run(name, func(t *testing.T) {
			h := startOn(t, memory.New(memory.Config{Now: clock}), edge.Config{})
			server := httptest.NewServer(h.edge.Handler(edge.Route{Dialects: []dialect.Dialect{strangers{}}}))
			t.Cleanup(server.Close)
			c := h.at(server).dial("/")
			c.read() // it is connected
			testkit.Check(t, h.store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectClient, ID: "visitor"}, time.Time{}, time.Hour))
			testkit.Check(t, c.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
			for {
				if _, _, err := c.ws.ReadMessage(); err != nil {
					if !websocket.IsCloseError(err, 4401) {
						t.Errorf("it ended with %v", err)
					}
					return
				}
			}
		})
	}
}
