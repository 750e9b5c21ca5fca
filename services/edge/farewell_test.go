package edge_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// stuff publishes until a client that does not read has a backlog at the edge, and returns how many it takes.
func (h *fixture) stuff(address string, until func() bool) {
	h.tb.Helper()
	for i := 0; !until(); i++ {
		if i == 5000 {
			h.tb.Fatal("the client never fell behind")
		}
		_, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: address, Data: fmt.Appendf(nil, `"%d %s"`, i, strings.Repeat("x", 48<<10))})
		testkit.Check(h.tb, err)
	}
}

// farewell reads whole frames until the close frame, and returns its code.
func farewell(t *testing.T, c *protoClient) int {
	t.Helper()
	testkit.Check(t, c.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		_, _, err := c.ws.ReadMessage()
		var e *websocket.CloseError
		switch {
		case err == nil:
			continue
		case errors.As(err, &e) && e.Code != websocket.CloseAbnormalClosure:
			return e.Code
		}
		t.Fatalf("a frame was cut: %v", err)
	}
}

// However the edge ends a connection, a client that reads again in time gets the frame that it has a part of, and the code.
func TestFarewell_reachesWhoDidNotRead(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cfg      edge.Config
		end      func(h *fixture)
		code     int
		hastened bool
	}{
		{"overload", edge.Config{QueueBytes: 256 << 10}, nil, 4508, false},
		{"no byte is taken", edge.Config{QueueBytes: 64 << 20, WriteTimeout: 50 * time.Millisecond}, nil, 4508, false},
		{"revoked", edge.Config{QueueBytes: 64 << 20}, func(h *fixture) {
			_, err := h.auth.RevokeToken(h.tb.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
			testkit.Check(h.tb, err)
		}, 4401, true},
		{"idle", edge.Config{QueueBytes: 64 << 20, PingInterval: time.Second}, nil, 4504, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.CloseWait = time.Millisecond // of a client that reads; one that does not has longer
			h := start(t, tc.cfg)
			c := h.proto(h.token("ada", everything), "channels/disconnect:x")
			h.stuff("channels/disconnect:x", func() bool { return h.edge.Backlogs() > 0 || h.edge.Refused() > 0 })
			if tc.end == nil && tc.code == 4508 && tc.cfg.WriteTimeout == 0 {
				h.stuff("channels/disconnect:x", func() bool { return h.edge.Refused() > 0 })
			}
			if tc.end != nil {
				tc.end(h)
			}
			testkit.Eventually(t, "a connection was refused", func() bool { return h.edge.Refused() > 0 })
			if tc.hastened { // the edge counts it as gone before that
				testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
			}
			if code := farewell(t, c); code != tc.code {
				t.Errorf("closed with %d, want %d", code, tc.code)
			}
			testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
		})
	}
}

// A client that does not read in time is reset, and costs nothing from then on.
func TestFarewell_hasAnEnd(t *testing.T) {
	h := start(t, edge.Config{QueueBytes: 256 << 10, CloseTimeout: 300 * time.Millisecond})
	c := h.proto(h.token("ada", everything), "channels/disconnect:x")
	h.stuff("channels/disconnect:x", func() bool { return h.edge.Refused() > 0 })
	testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
	testkit.Check(t, c.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the end looks like one: %v", err)
			}
			return
		}
	}
}
