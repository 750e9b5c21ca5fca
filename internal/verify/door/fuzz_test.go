package door_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/trunkline/trunkline/internal/verify/door"
)

// FuzzEvent reads what a server, or something in its place, says on a stream and as a refusal. It is one event or an error, and a refusal
// always says whether to try again.
func FuzzEvent(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind string, data []byte, status int, after string) {
		e, err := door.EventOf(kind, data)
		if n := one(e.Subscribed != nil) + one(e.Message != nil) + one(e.Gap != nil); n > 1 || kind == "error" && err == nil {
			t.Errorf("%q %q is %+v, %v", kind, data, e, err)
		}
		r, ok := errors.AsType[*door.Refused](door.OfREST(status, http.Header{"Retry-After": {after}}, data))
		if !ok || r.Reason == "" || r.Message == "" {
			t.Errorf("%d %q is %+v", status, data, r)
		}
	})
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
