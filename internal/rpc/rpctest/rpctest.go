// Package rpctest serves real services to a test, over a real gRPC server on a pipe.
package rpctest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/lanes"
	"github.com/trunkline/trunkline/internal/testkit"
)

// internalKey is the key of Conn.
const internalKey = "an-internal-key-for-the-tests"

// Service registers what a server serves.
type Service interface {
	Register(r grpc.ServiceRegistrar)
}

// Server is a gRPC server of a test. It serves nothing before Run.
type Server struct {
	// Conn calls the server as another role does, with every scope.
	Conn *lanes.Conn

	tb   testing.TB
	pipe *rpc.Pipe
}

// New returns a server and the connection to it, which is closed with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, pipe: rpc.NewPipe()}
	s.Conn = s.Dial(internalKey)
	return s
}

// Dial returns another connection, whose calls carry key; none when key is empty. It is closed with the test.
func (s *Server) Dial(key string) *lanes.Conn {
	s.tb.Helper()
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: s.pipe, InternalKey: key})
	testkit.Check(s.tb, err)
	s.tb.Cleanup(func() { testkit.Check(s.tb, conn.Close()) })
	return conn
}

// Run serves the services and calls every function of run, until stop is called or the test ends. The test fails when one of
// them returns an error. stop returns when all have returned, and may be called again.
func (s *Server) Run(cfg rpc.Config, services []Service, run ...func(context.Context) error) (stop func()) {
	s.tb.Helper()
	cfg.Auth.Keys = append(cfg.Auth.Keys, rpc.InternalKey(internalKey))
	cfg.Grace = 5 * time.Second
	server, err := rpc.NewServer(s.tb.Context(), cfg, s.pipe, slog.New(slog.DiscardHandler), nil)
	testkit.Check(s.tb, err)
	for _, service := range services {
		service.Register(server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	for _, f := range append(run, server.Run) {
		group.Go(func() error { return f(ctx) })
	}
	stop = sync.OnceFunc(func() {
		cancel()
		testkit.Check(s.tb, group.Wait())
	})
	s.tb.Cleanup(stop)
	return stop
}
