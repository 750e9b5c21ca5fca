package lanes_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/internal/rpc/lanes"
	"github.com/trunkline/trunkline/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Streams take as many connections as they need and give their places back, and unary calls never wait for one.
func TestConn_streamsHaveLanes(t *testing.T) {
	listener := bufconn.Listen(64 << 10)
	server := grpc.NewServer(grpc.MaxConcurrentStreams(lanes.StreamsPerLane))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); testkit.Check(t, <-served) }()
	var dialled atomic.Int64
	dial := func() (*grpc.ClientConn, error) {
		dialled.Add(1)
		return grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	}
	unary, err := dial()
	testkit.Check(t, err)
	conn := lanes.New(unary, dial)
	client := grpc_health_v1.NewHealthClient(conn)
	open := func(ctx context.Context, n int) {
		t.Helper()
		for range n {
			stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
			testkit.Check(t, err)
			_, err = stream.Recv()
			testkit.Check(t, err)
		}
	}
	const many = 2*lanes.StreamsPerLane + 1
	first, stop := context.WithCancel(t.Context())
	open(first, many)
	if n := dialled.Load(); n != 4 || conn.Streams() != many {
		t.Errorf("%d streams have %d connections besides the first", conn.Streams(), n-1)
	}
	_, err = client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	testkit.Check(t, err)
	stop()
	testkit.Eventually(t, "every place is free", func() bool { return conn.Streams() == 0 })
	open(t.Context(), many)
	if n := dialled.Load(); n != 4 {
		t.Errorf("the connections are not used again: there are %d", n)
	}
	testkit.Check(t, conn.Close())
	if _, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err == nil {
		t.Error("a stream was opened after Close")
	}
	testkit.Eventually(t, "Close ends the streams", func() bool { return conn.Streams() == 0 })
}
