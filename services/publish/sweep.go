package publish

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// sweepEvery is how often messages are looked for whose time has come.
	sweepEvery = 250 * time.Millisecond
	// sweepLimit is how many are taken at once.
	sweepLimit = 256
)

// sweep settles messages whose deadline or end has come: every publish service does, and the store lends
// each message to one of them at a time.
func (s *Server) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for s.sweepSome(ctx) == sweepLimit {
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// sweepSome returns how many messages it looked at.
func (s *Server) sweepSome(ctx context.Context) int {
	due, err := s.store.DueDeliveries(ctx, sweepLimit)
	if err != nil {
		return 0 // the store is away, which readiness tells
	}
	for _, d := range due {
		out, err := s.store.Settle(ctx, d)
		if err != nil {
			s.log.Warn("a message could not be settled, it is tried again", slog.String("to", d.To.String()), slog.String("error", err.Error()))
			continue
		}
		if out.Changed != 0 && s.settled != nil {
			s.settled(ctx, d, out.Changed)
		}
	}
	return min(len(due), sweepLimit)
}

// Settled is told of each message that was stored or has expired; see Config.Settled.
type Settled func(ctx context.Context, d bus.Due, state bus.DeliveryState)
