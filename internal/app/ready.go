package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/telemetry"
)

// checks is what has to be so for this process to be sent to: the store answers, messages come through, the
// services elsewhere are healthy, and it is not stopping.
func (h *process) checks(ctx context.Context) []telemetry.Check {
	checks := []telemetry.Check{{Name: "running", Run: func(context.Context) error {
		if ctx.Err() != nil {
			return errors.New("stopping")
		}
		return nil
	}}}
	if h.store != nil {
		checks = append(checks, telemetry.Check{Name: "store", Run: func(ctx context.Context) error { return reasoned(h.store.Ping(ctx)) }})
	}
	if h.cfg.Runs(config.RoleEdge) {
		checks = append(checks, telemetry.Check{Name: "edge", Run: func(context.Context) error { return h.edge.Ready() }})
	}
	if h.cfg.Runs(config.RolePublish) {
		checks = append(checks, telemetry.Check{Name: "publish", Run: func(context.Context) error { return h.publish.Ready() }})
	}
	for _, role := range []string{config.RoleAuth, config.RolePublish} {
		if conn := h.conns[role]; conn != nil && !h.cfg.Runs(role) {
			checks = append(checks, telemetry.Check{
				Name: "upstream " + role, Run: func(ctx context.Context) error { return healthy(ctx, conn) },
				// Connections live on, receive, resume and acknowledge without these services. A load balancer that took every edge
				// away for one would help nobody.
				Degrades: h.cfg.Runs(config.RoleEdge),
			})
		}
	}
	return checks
}

// reasoned puts the reason of a refusal behind its sentence, as /readyz?verbose shows it.
func reasoned(err error) error {
	if e, ok := errors.AsType[*bus.Error](err); ok {
		return fmt.Errorf("%w (%s)", err, e.Reason)
	}
	return err
}

// healthy asks a service elsewhere how it is.
func healthy(ctx context.Context, conn *grpc.ClientConn) error {
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

// tellHealth keeps grpc.health.v1 as the checks are, until ctx ends.
func (h *process) tellHealth(ctx context.Context) error {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		h.server.SetServing("", len(telemetry.Down(telemetry.RunChecks(ctx, h.ready))) == 0)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// listen binds every port, so that one that is taken is known before anything runs.
func (h *process) listen(ctx context.Context) error {
	for _, d := range append(h.listeners(), h.internal) {
		if err := d.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runBack starts what the listeners of clients rely on.
func (h *process) runBack(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return tuneGC(ctx) })
	if h.server != nil {
		g.Go(func() error { return h.server.Run(ctx) })
		g.Go(func() error { return h.revoked.Run(ctx) })
		g.Go(func() error { return h.tellHealth(ctx) })
	}
	if h.auth != nil {
		g.Go(func() error { return h.hangups(ctx) })
	}
	if h.publish != nil {
		g.Go(func() error { return h.publish.Run(ctx) })
		g.Go(func() error { return h.events.Run(ctx) })
	}
	if h.store != nil {
		g.Go(func() error { return h.beat(ctx) })
	}
	if h.internal != nil {
		g.Go(func() error { return h.internal.Run(ctx, h.tel.Log) })
	}
}

// runFront starts what clients see; it is stopped first. Something always waits for ctx.
func (h *process) runFront(ctx context.Context, g *errgroup.Group) {
	if h.edge != nil {
		g.Go(func() error { return h.edge.Run(ctx) })
	}
	for _, d := range h.listeners() {
		if d != nil {
			g.Go(func() error { return d.Run(ctx, h.tel.Log) })
		}
	}
	g.Go(func() error {
		<-ctx.Done()
		return nil
	})
}

func (h *process) grpcAddress() string {
	if h.server == nil || h.server.Addr() == nil {
		return ""
	}
	return h.server.Addr().String()
}

func (h *process) running() Running {
	return Running{
		Config: h.cfg, HTTP: h.http.address(), GRPC: h.grpcAddress(), Internal: h.internal.address(),
		Legacy: h.legacyAddresses(), DevKey: h.devKey,
		Connections: h.connections,
	}
}
