package refusal_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/refusal"
)

// The contract, the bus and the table have the same reasons, and what a row says is what callers get.
func TestTable_isTheCatalogue(t *testing.T) {
	for number, name := range errorsv1.ErrorReason_name {
		if reason := strings.TrimPrefix(name, "ERROR_REASON_"); number != 0 && !refusal.Known(reason) {
			t.Errorf("%s has no row", reason)
		}
	}
	for _, r := range refusal.All() {
		if _, ok := errorsv1.ErrorReason_value["ERROR_REASON_"+r.Reason]; !ok {
			t.Errorf("%s is not in the contract", r.Reason)
		}
		if e := bus.Known(r.Reason); e.Reason != r.Reason {
			t.Errorf("the bus has no error for %s", r.Reason)
		}
		if r.When == "" || r.Fix == "" {
			t.Errorf("%s does not say what to do", r.Reason)
		}
	}
}

// A status follows from its code as everywhere (google/rpc/code.proto), but for a body in a language that is not spoken.
func TestTable_statusesAreThoseOfTheirCodes(t *testing.T) {
	for _, r := range refusal.All() {
		want := runtime.HTTPStatusFromCode(codes.Code(r.Code))
		if r.Reason == "UNSUPPORTED_MEDIA_TYPE" {
			want = http.StatusUnsupportedMediaType
		}
		if r.HTTP != want {
			t.Errorf("%s: status %d, want %d", r.Reason, r.HTTP, want)
		}
	}
}

// A client that hears only the close code does what one does that hears the reason.
func TestTable_aCloseCodeHasOneAnswer(t *testing.T) {
	for _, r := range refusal.All() {
		if r.Close != 0 && refusal.OfClose(r.Close) != r.Retry {
			t.Errorf("%s: %s, but other reasons of %d: %s", r.Reason, r.Retry, r.Close, refusal.OfClose(r.Close))
		}
	}
	if refusal.OfClose(4999) != refusal.Again {
		t.Error("an unknown close code ends a client")
	}
}

func TestOf_unknownReasonsAreInternal(t *testing.T) {
	if refusal.Of("NO_SUCH_REASON").Reason != "INTERNAL" || refusal.Known("NO_SUCH_REASON") || refusal.Bare(2).Reason != "INTERNAL" {
		t.Error("an unknown reason is not INTERNAL")
	}
}
