package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/gateway"
)

// What was sent to the gateway while the token lived, and is written after its end, is not written: the gateway itself may have
// stood still in between.
func TestStream_writesNothingAfterTheTokensEnd(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		got := send(t, s, "GET", "/v1/channels/ending/stream", "", "Accept: "+accept)
		if got.status != http.StatusOK || !strings.Contains(got.body, "TOKEN_EXPIRED") || strings.Contains(got.body, `"m1"`) {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	if got := send(t, s, "GET", "/v1/channels/lives/stream", ""); !strings.Contains(got.body, `"m1"`) {
		t.Errorf("while it lives: %d %s", got.status, got.body)
	}
}
