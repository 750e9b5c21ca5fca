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

// probeLoop publishes the probe by the way that every message takes, and ends the connection when it stays away. It also asks
// the server about its life where the connection can.
func (l *link) probeLoop(ctx context.Context, inquires bool) error {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	if inquires {
		l.inquire()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.echoed: // its channel has just been opened
		case <-ticker.C:
			if time.Since(time.UnixMilli(l.heard.Load())) > probeWithin {
				return errSilent
			}
			if inquires {
				l.inquire()
			}
			l.again()
		}
		l.sendProbe(ctx)
	}
}

// sendProbe does not look at the answer: one that stays away is noticed on the connection.
func (l *link) sendProbe(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, l.feed.store.cfg.Timeout)
	defer cancel()
	cmd := redis.NewIntCmd(call, "publish", l.probe, "")
	if l.feed.store.cluster != nil {
		_ = l.client.Load().Process(call, cmd) // on the link's own node: what is proved is this connection
		return
	}
	_ = l.feed.store.pipes.Do(call, []redis.Cmder{cmd})
}
