package behind

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// reaper removes the members, of any node, that will not leave by themselves.
type reaper struct {
	store   bus.Reaper
	timeout time.Duration
	log     *slog.Logger
	overdue chan struct{} // somebody's grace is over already
}

func newReaper(store bus.Reaper, timeout time.Duration, log *slog.Logger) *reaper {
	return &reaper{store: store, timeout: timeout, log: log, overdue: make(chan struct{}, 1)}
}

func (r *reaper) run(ctx context.Context) {
	timer := time.NewTimer(reapPause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.overdue:
		}
		for more := true; more && ctx.Err() == nil; {
			call, cancel := context.WithTimeout(ctx, r.timeout)
			var err error
			more, err = r.store.Reap(call, bus.NodeTTL)
			cancel()
			if err != nil {
				r.log.Debug("cannot look for members that have gone", "error", err.Error())
				more = false
			}
		}
		timer.Reset(reapPause())
	}
}

// reapPause is about a second, and differs, so that the nodes do not all look at once.
func reapPause() time.Duration {
	return 750*time.Millisecond + rand.N(500*time.Millisecond) //nolint:gosec // spreading needs no secret
}
