package pushserver_test

import (
	"context"
	"testing"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/legacy/pushserver"
)

// FuzzPageToken says that a token of the statistics gives a page or is refused by its field.
func FuzzPageToken(f *testing.F) {
	s, _ := serviceOf(pushserver.ServiceConfig{Open: true})
	ctx := rpc.WithCaller(context.Background(), rpc.Backend("edge", rpc.ScopeAll))
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.GetPushStatistics(ctx, &legacyv1.GetPushStatisticsRequest{PageToken: token}); err != nil {
			if e := rpc.FromError(err); e.Reason != "FIELD_INVALID" {
				t.Errorf("%q: %v", token, err)
			}
		}
	})
}
