package rpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// away refuses every token because something does not answer.
type away struct {
	authv1.UnimplementedAuthServiceServer
	why error
}

// IssueToken refuses.
func (a away) IssueToken(context.Context, *authv1.IssueTokenRequest) (*authv1.IssueTokenResponse, error) {
	return nil, a.why
}

// While something behind does not answer, callers do not fill the log: a warning of each reason is enough.
func TestServer_warnsOnceOfWhatIsAway(t *testing.T) {
	for _, why := range []*bus.Error{bus.ErrAuthorizerAway, bus.ErrStoreUnavailable, bus.ErrAuthUnavailable} {
		var out bytes.Buffer
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(&locked{&mu, &out}, nil))
		server, err := rpc.NewServer(t.Context(), rpc.Config{Listen: "127.0.0.1:0", Auth: rpc.AuthConfig{DevLoopback: true}}, nil, log, nil)
		testkit.Check(t, err)
		authv1.RegisterAuthServiceServer(server, away{why: why})
		ctx, cancel := context.WithCancel(context.Background())
		var g errgroup.Group
		g.Go(func() error { return server.Run(ctx) })
		conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		testkit.Check(t, err)
		for range 50 {
			if _, err := authv1.NewAuthServiceClient(conn).IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "c"}); rpc.FromError(err).Reason != why.Reason {
				t.Fatal(err)
			}
		}
		testkit.Check(t, conn.Close())
		cancel()
		testkit.Check(t, g.Wait())
		if n := strings.Count(out.String(), "call refused"); n != 1 {
			t.Errorf("%s: %d warnings", why.Reason, n)
		}
	}
}
