package rpc_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// believing knows every token.
type believing struct{ authv1.AuthServiceClient }

func (believing) ValidateToken(context.Context, *authv1.ValidateTokenRequest, ...grpc.CallOption) (*authv1.ValidateTokenResponse, error) {
	return &authv1.ValidateTokenResponse{Identity: &authv1.Identity{Client: "c", ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}}, nil
}

// Remembered tokens keep nothing of the frames that they were cut out of.
func TestTokens_keepCopies(t *testing.T) {
	tokens := rpc.NewTokens(believing{})
	testkit.KeepsCopies(t, tokens, func(i int, in *testkit.Input) {
		_, err := tokens.Validate(t.Context(), in.Cut(fmt.Sprint("token", i)))
		testkit.Check(t, err)
	})
}
