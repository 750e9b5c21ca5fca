package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/retry"
)

// link is one subscription connection: a loop that reads it, and a loop that asks for channels. Its probe goes out as a publish
// and has to come back. The link is made anew whenever it breaks, is silent, or says something that was not asked for and is no
// push.
type link struct {
	requests

	feed   *Feed
	name   string
	client atomic.Pointer[redis.Client] // of its node; the cluster may make another one
	echoed chan struct{}                // the probe's channel is open: there is no need to wait for the next round
	echo   atomic.Int64                 // when the probe came back last, in Unix ms; 0 while it has not on this connection
	heard  atomic.Int64                 // when the server answered last on this connection

	// Guarded by the lock of the requests.
	end     context.CancelFunc // set by run
	retired bool

	missing int // looks in a row that did not find the node in the cluster; guarded by the feed's lock
}

const (
	// probeEvery is how often the probe is sent.
	probeEvery = time.Second
	// probeWithin is how soon it has to be back, and how soon a value that has begun has to be complete.
	probeWithin = 3 * time.Second
	// wellAfter is after how long a connection counts as one that worked, so that its loss is no failure of the tries before it.
	wellAfter = 10 * time.Second
)

func newLink(f *Feed, name string, client *redis.Client) *link {
	l := &link{
		feed: f, name: name,
		requests: requests{
			cluster: f.cluster != nil, bridges: f.cfg.Bridges, probe: f.cfg.Probe(uuid.NewString()), lost: f.cfg.Metrics.lost,
			wake: make(chan struct{}, 1), wanted: make(map[string]*want),
		},
		echoed: make(chan struct{}, 1),
	}
	l.client.Store(client)
	return l
}

// retire ends a link whose node has left the cluster, and returns what it followed.
func (l *link) retire() []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired = true; l.end != nil {
		l.end()
	}
	// An address and its alias are one subscription, which is returned once.
	var subs []*subscription
	for _, w := range l.wanted {
		if w.use == ofAddress {
			subs = append(subs, w.sub)
		}
	}
	return subs
}

// ready says whether the probe came back lately.
func (l *link) ready() error {
	at := l.echo.Load()
	if at != 0 && time.Since(time.UnixMilli(at)) < probeWithin {
		return nil
	}
	return bus.ErrStoreUnavailable.With("a subscription connection does not hear its own probe", map[string]string{"link": l.name})
}

// run connects, again and again, until ctx ends or the link's node is gone.
func (l *link) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	// A link may be retired before its goroutine runs, and there was nothing to cancel then.
	if l.end = cancel; l.retired {
		cancel()
	}
	l.mu.Unlock()
	for try := 0; ctx.Err() == nil; try++ {
		start := time.Now()
		err := l.session(ctx)
		// At once: ready must not vouch for a connection that is lost.
		l.echo.Store(0)
		if ctx.Err() != nil {
			return nil
		}
		l.feed.cfg.Log.Warn("a subscription connection was lost, connecting again", slog.String("error", fmt.Sprint(err)))
		if time.Since(start) > wellAfter {
			try = 0
		}
		retry.Wait(ctx, retry.Backoff(try))
	}
	return nil
}

// session is the life of one connection.
func (l *link) session(ctx context.Context) error {
	conn, push, err := dial(ctx, l.client.Load().Options(), l.feed.cfg.Timeout)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends a waiting read
	defer stop()
	defer func() { _ = conn.Close() }()
	// A new connection gets the whole time. The one before may have been silent for long.
	l.heard.Store(time.Now().UnixMilli())
	l.begin(l.feed.bridges(l))
	// Only when all loops have ended: a confirmation that is still read must not open what was lost.
	defer l.lose()
	h := &hearing{link: l, conn: conn, push: push}
	g.Go(h.run)
	g.Go(func() error { return l.askLoop(ctx, conn) })
	// RESP 2 permits no INFO on a connection that has subscriptions.
	g.Go(func() error { return l.probeLoop(ctx, push == resp.Push) })
	return g.Wait()
}

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
			// What was refused may be permitted by now, and nothing tells of that.
			l.again()
		}
		l.sendProbe(ctx)
	}
}

// sendProbe does not look at the answer: one that stays away is noticed on the connection.
func (l *link) sendProbe(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, l.feed.cfg.Timeout)
	defer cancel()
	cmd := redis.NewIntCmd(call, "publish", l.probe, "")
	if l.feed.cluster != nil {
		_ = l.client.Load().Process(call, cmd) // on the link's own node: what is proved is this connection
		return
	}
	_ = l.feed.cfg.Send(call, cmd)
}
