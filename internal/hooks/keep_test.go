package hooks_test

import (
	"fmt"
	"testing"
	"time"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Remembered answers keep nothing of the frames that the questions were cut out of.
func TestAuthorizer_keepsCopies(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision { return &hooksv1.Decision{Allowed: true} }}
	a, _ := serve(t, s, hooks.Config{Cache: time.Hour})
	testkit.KeepsCopies(t, a, func(i int, in *testkit.Input) {
		testkit.Check(t, a.Authorize(t.Context(), question(t, bus.Publish, in.Cut("ada"), in.Cut(fmt.Sprint("channels/c", i)))))
	})
	if n := a.Forget(time.Now()); n != 1000 {
		t.Errorf("%d answers are remembered", n)
	}
}
