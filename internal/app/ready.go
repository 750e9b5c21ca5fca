package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/lanes"
	"github.com/trunkline/trunkline/internal/telemetry"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/edge"
)

// checks is what has to be true before traffic is sent to this process. The store answers, messages come through, the services
// elsewhere are healthy, and it is not about to stop, which it is once stopping ends.
func checks(stopping context.Context, b base, s *services, e *edge.Edge) []telemetry.Check {
	all := []telemetry.Check{{Name: "running", Run: func(context.Context) error {
		if stopping.Err() != nil {
			return errors.New("stopping")
		}
		return nil
	}}}
	if b.store != nil {
		all = append(all, telemetry.Check{Name: "store", Run: func(ctx context.Context) error { return reasoned(b.store.Ping(ctx)) }})
	}
	if e != nil {
		all = append(all, telemetry.Check{Name: "edge", Run: func(context.Context) error { return e.Ready() }})
	}
	if s != nil && s.publish != nil {
		all = append(all, telemetry.Check{Name: "publish", Run: func(context.Context) error { return s.publish.Ready() }})
	}
	if s != nil && s.auth != nil {
		all = append(all, tokenChecks(s.auth)...)
	}
	for _, upstream := range []struct {
		role string
		conn *lanes.Conn
	}{{config.RoleAuth, b.conns.auth}, {config.RolePublish, b.conns.publish}} {
		if upstream.conn != nil && !b.cfg.Runs(upstream.role) {
			all = append(all, telemetry.Check{
				Name: "upstream " + upstream.role, Run: func(ctx context.Context) error { return healthy(ctx, upstream.conn) },
				// Connections live on, receive, resume and acknowledge without these services. A load balancer that took every edge
				// away for one would help nobody.
				Degrades: e != nil,
			})
		}
	}
	return all
}

// tokenChecks is what the auth service needs: a key that signs, and the keys of other issuers. Without the latter, their tokens alone
// are refused for a while.
func tokenChecks(s *auth.Server) []telemetry.Check {
	all := []telemetry.Check{
		{Name: "signing keys", Run: func(context.Context) error { return s.Ready() }},
		{Name: "signing keys ending", Run: func(context.Context) error { return s.KeysEnding() }, Degrades: true},
	}
	issuers := s.Issuers()
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		all = append(all, telemetry.Check{Name: "issuer " + name, Run: func(context.Context) error { return issuers[name]() }, Degrades: true})
	}
	return all
}

// reasoned puts the reason of a refusal behind its sentence, as /readyz?verbose shows it.
func reasoned(err error) error {
	if e, ok := errors.AsType[*bus.Error](err); ok {
		return fmt.Errorf("%w (%s)", err, e.Reason)
	}
	return err
}

// healthy asks a service elsewhere how it is.
func healthy(ctx context.Context, conn *lanes.Conn) error {
	resp, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return rpc.FromError(err)
	}
	if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return errors.New("it says " + resp.GetStatus().String())
	}
	return nil
}

// healthInterval is how often the health that gRPC tells follows the checks.
const healthInterval = time.Second

// tellHealth keeps grpc.health.v1 as the checks are, until ctx ends. When stopping ends it looks at once.
func tellHealth(stopping, ctx context.Context, server *rpc.Server, ready []telemetry.Check) error {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	stops := stopping.Done()
	for {
		server.SetServing(len(telemetry.Down(telemetry.RunChecks(ctx, ready))) == 0)
		select {
		case <-ctx.Done():
			return nil
		case <-stops:
			stops = nil
		case <-tick.C:
		}
	}
}
