package auth_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Remembered signatures keep nothing of the frames that the tokens were cut out of.
func TestValidate_keepsCopies(t *testing.T) {
	f := start(t)
	testkit.KeepsCopies(t, f.Server, func(i int, in *testkit.Input) {
		token := f.issue(t, &authv1.IssueTokenRequest{Client: fmt.Sprint(i), User: "ada", Groups: []string{"staff"}, Ttl: durationpb.New(time.Hour)})
		testkit.Check(t, f.validate(t.Context(), in.Cut(token.GetToken())))
	})
}
