package edge

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// settleEvery is how often the number of connections is looked at.
	settleEvery = 2 * time.Second
	// settleGrowth is how many new connections leave enough garbage behind to collect it.
	settleGrowth = 1000
)

// settle gives memory back after a storm of connects: handshakes, tokens and first commands leave several times
// what a connection keeps, and an idle process would hold it until the next forced collection, minutes later. It collects
// once, when as many came and none has come for a while.
func (e *Edge) settle(ctx context.Context) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	var settled, last uint64 // connections ever accepted
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := e.next.Load()
		if now == last && now-settled >= settleGrowth {
			debug.FreeOSMemory()
			settled = now
		}
		last = now
	}
}
