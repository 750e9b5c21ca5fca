package gateway

import (
	"context"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// unread puts what was wrong with the items that could not be read into the answer of a batch. The service was sent an empty item for
// each, so that places and counts are right, and has refused it.
func unread(ctx context.Context, _ http.ResponseWriter, m proto.Message) error {
	b, ok := ctx.Value(bodyKey{}).(*body)
	if !ok || len(b.items) == 0 {
		return nil
	}
	for i, fault := range b.items {
		switch answer := m.(type) {
		case *publishv1.BatchPublishResponse:
			if i < len(answer.GetResults()) && answer.GetResults()[i].GetOk() == nil {
				answer.Results[i] = &publishv1.PublishResult{Outcome: &publishv1.PublishResult_Error{Error: itemError(fault)}}
			}
		case *authv1.BatchValidateTokensResponse:
			if i < len(answer.GetResults()) && answer.GetResults()[i].GetIdentity() == nil {
				answer.Results[i] = &authv1.ValidateTokenResult{Outcome: &authv1.ValidateTokenResult_Error{Error: itemError(fault)}}
			}
		}
	}
	return nil
}

// itemError is a fault of an item as the contract says it.
func itemError(fault *payload.Error) *errorsv1.Error {
	e := &errorsv1.Error{Code: int32(codes.InvalidArgument), Reason: fault.Kind.Reason(), Message: fault.Message}
	if fault.Kind == payload.UnknownField && len(fault.Violations) > 0 {
		e.Metadata = map[string]string{"field": fault.Violations[0].Field}
	}
	for _, v := range fault.Violations {
		e.FieldViolations = append(e.FieldViolations, &errorsv1.FieldViolation{Field: v.Field, Description: v.Description})
	}
	return e
}
