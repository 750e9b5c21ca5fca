package rest_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rest"
	"github.com/trunkline/trunkline/internal/rpc"
)

// What a service refuses keeps its reason, and the text of any other error stays inside.
func TestFromError(t *testing.T) {
	for _, tc := range []struct {
		err     error
		reason  string
		http    int
		header  string
		message string
	}{
		{rpc.Status(bus.ErrTokenMissing, "").Err(), "TOKEN_MISSING", 401, "Bearer", ""},
		{rpc.Status(bus.ErrRateLimited.Retry(1500*time.Millisecond), "").Err(), "RATE_LIMITED", 429, "2", ""},
		{rest.TooLarge(10), "MESSAGE_TOO_LARGE", 413, "", "10 bytes"},
		{errors.New("secret detail"), "INTERNAL", 500, "", ""},
	} {
		e := rest.FromError(tc.err)
		w := httptest.NewRecorder()
		e.Write(w, "req-1")
		body := w.Body.String()
		if e.Reason() != tc.reason || w.Code != tc.http || !strings.Contains(body, "req-1") || !strings.Contains(body, tc.reason) {
			t.Errorf("%v: %s %d %s", tc.err, e.Reason(), w.Code, body)
		}
		if got := w.Header().Get("WWW-Authenticate") + w.Header().Get("Retry-After"); got != tc.header {
			t.Errorf("%v: headers %q", tc.err, got)
		}
		if strings.Contains(body, "secret") || !strings.Contains(e.Message, tc.message) {
			t.Errorf("%v: says %s", tc.err, body)
		}
	}
}
