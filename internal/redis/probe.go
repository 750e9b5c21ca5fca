package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// probeEvery is how often the probe is sent, and probeWithin how soon it has to be back.
	probeEvery  = time.Second
	probeWithin = 3 * time.Second
)

// errSilent is a connection whose probe does not come back.
var errSilent = errors.New("the probe did not come back")

// probeLoop publishes the probe by the way that every message takes, and ends the connection when it stays away.
func (l *link) probeLoop(ctx context.Context) error {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	start := time.Now()
	for {
		cmd := redis.NewIntCmd(ctx, "publish", l.probe, "")
		if l.sharded() {
			// On the link's own node: what is proved is this connection.
			call, cancel := context.WithTimeout(ctx, l.feed.store.cfg.Timeout)
			_ = l.client.Process(call, cmd) // an answer that stays away is noticed below
			cancel()
		} else {
			call, cancel := context.WithTimeout(ctx, l.feed.store.cfg.Timeout)
			_ = l.feed.store.pipes.do(call, []redis.Cmder{cmd})
			cancel()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		heard := start
		if at := l.echo.Load(); at != 0 {
			heard = time.UnixMilli(at)
		}
		if time.Since(heard) > probeWithin {
			return errSilent
		}
	}
}
