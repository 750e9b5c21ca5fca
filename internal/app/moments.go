package app

import (
	"context"
	"log/slog"
	"time"
)

// moments are the steps of a stop, each a context that ends then. Load balancers first see that the process is not
// ready. Then clients are no longer served, and what serves them goes last.
type moments struct {
	stopping, front, back     context.Context //nolint:containedctx // they are what this is
	stop, stopFront, stopBack context.CancelFunc
}

// newMoments returns the moments of a process that begins to stop when ctx ends, and what frees them.
func newMoments(ctx context.Context) (moments, func()) {
	var m moments
	m.stopping, m.stop = context.WithCancel(ctx)
	m.front, m.stopFront = context.WithCancel(context.WithoutCancel(ctx))
	m.back, m.stopBack = context.WithCancel(context.WithoutCancel(ctx))
	return m, func() {
		m.stop()
		m.stopFront()
		m.stopBack()
	}
}

// delay ends front some time after stopping has ended, so that load balancers notice first. It returns at once when something
// of front has failed.
func (m moments) delay(front context.Context, d time.Duration, log *slog.Logger) {
	defer m.stopFront()
	select {
	case <-m.stopping.Done():
	case <-front.Done():
		return
	}
	log.Info("not ready any more, about to stop", "shutdown_delay", d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-front.Done():
	}
}
