package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What was sent to the gateway while the token lived is not written after its end. The gateway itself may have stood still in between.
func TestStream_writesNothingAfterTheTokensEnd(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		got := testkit.Send(t, s, "GET", "/v1/channels/ending/stream", "", "Accept: "+accept)
		if got.Status != http.StatusOK || !strings.Contains(got.Body, "TOKEN_EXPIRED") || strings.Contains(got.Body, `"m1"`) {
			t.Errorf("got %d %s", got.Status, got.Body)
		}
	}
	if got := testkit.Send(t, s, "GET", "/v1/channels/lives/stream", ""); !strings.Contains(got.Body, `"m1"`) {
		t.Errorf("while it lives: %d %s", got.Status, got.Body)
	}
}
