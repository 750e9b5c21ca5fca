package dialect

import (
	"net/http"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Token returns the credential of a handshake: that of the authorization header or, because browsers cannot set one, that
// of the query.
func Token(r *http.Request) string {
	if token := bus.BearerToken(r.Header.Get("Authorization")); token != "" {
		return token
	}
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.URL.Query().Get("token")
}

// SetRetryAfter writes the header of a refusal that says when to come back, in whole seconds, rounded up.
func SetRetryAfter(h http.Header, e *bus.Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
}
