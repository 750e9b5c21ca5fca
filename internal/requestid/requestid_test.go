package requestid_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/requestid"
)

func TestOf(t *testing.T) {
	for given, kept := range map[string]bool{
		"a": true, "A-z_09": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a\n": false, "é": false, `"`: false,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(requestid.Header, given)
		id := requestid.Of(w, r)
		if w.Header().Get(requestid.Header) != id || kept && id != given || !kept && uuid.Validate(id) != nil {
			t.Errorf("%q became %q", given, id)
		}
	}
}
