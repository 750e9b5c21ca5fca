package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/resp"
)

// link is one subscription connection: a loop that reads it, a loop that asks for channels, and a probe
// that goes out as a publish and has to come back. It is made anew whenever it breaks, is silent, or says something
// that was not asked for and is no push.
//
// A channel of a link is wanted, then asked for, then open: the server has confirmed it. It stops being open when the
// connection ends, or when the server ends the subscription.
type link struct {
	feed   *feed
	name   string
	client atomic.Pointer[redis.Client] // of its node; the cluster may make another one
	probe  string                       // a channel of its own
	wake   chan struct{}
	echoed chan struct{} // the probe's channel is open: there is no need to wait for the next round
	echo   atomic.Int64  // when the probe came back last, in Unix ms; 0 while it has not on this connection
	heard  atomic.Int64  // when the server answered last on this connection

	mu        sync.Mutex // held for one channel at a time while messages may come
	wanted    map[string]*want
	connected bool
	lifeless  bool      // the server may not be asked about its life
	todo      []request // to be written on this connection
	asked     []request // written and not answered, in their order
	marks     int
	end       context.CancelFunc // set by run
	retired   bool

	missing int // looks in a row that did not find the node in the cluster; guarded by the feed's lock
}

// want is one channel of a link.
type want struct {
	channel string
	use     use
	sub     *subscription  // of an address's channels
	rule    bus.BridgeRule // of a bridged channel

	// Guarded by the link's lock.
	sent    bool // the server may have the subscription
	refused bool // it has answered with an error
	open    bool // it has confirmed it
	lapsed  bool // messages may have been missed; told at the confirmation
}

// use says what a channel is for.
type use uint8

const (
	ofAddress use = iota
	ofSecondName
	ofBridge
	ofProbe
	ofLife
)

// verb is what a connection is asked.
type verb string

const (
	subscribe    verb = "subscribe"
	unsubscribe  verb = "unsubscribe"
	ssubscribe   verb = "ssubscribe"
	sunsubscribe verb = "sunsubscribe"
	info         verb = "info"
	mark         verb = "mark" // leaves a channel that nobody has: its answer comes after those of what was left before
)

// request is one thing that a connection is asked. Channels may share a command.
type request struct {
	verb    verb
	channel string
	want    *want
	last    bool // of its command
}

// chunk is how many channels one command names.
const chunk = 500

func newLink(f *feed, name string, client *redis.Client) *link {
	l := &link{
		feed: f, name: name,
		probe:  f.store.keys.probe(uuid.NewString()),
		wake:   make(chan struct{}, 1),
		echoed: make(chan struct{}, 1),
		wanted: make(map[string]*want),
	}
	l.client.Store(client)
	return l
}

// follow asks for the channels of a subscription. What was missed before is told when they are open.
func (l *link) follow(sub *subscription) {
	l.mu.Lock()
	l.want(&want{channel: sub.channel, use: ofAddress, sub: sub, lapsed: sub.ever.Load()})
	if sub.second != "" { // the second name is asked for last
		l.want(&want{channel: sub.second, use: ofSecondName, sub: sub, lapsed: sub.ever.Load()})
	}
	l.mu.Unlock()
	l.signal()
}

// leave ends what follow began.
func (l *link) leave(sub *subscription) {
	l.mu.Lock()
	for _, channel := range sub.channels() {
		if w := l.wanted[channel]; w != nil {
			delete(l.wanted, channel)
			l.ask(request{verb: l.sharded(w, unsubscribe), channel: channel, want: w})
		}
	}
	sub.on.Store(false)
	l.mu.Unlock()
	l.signal()
}

// want asks for a channel. The caller holds the lock.
func (l *link) want(w *want) {
	l.wanted[w.channel] = w
	l.ask(request{verb: l.sharded(w, subscribe), channel: w.channel, want: w})
}

// ask notes what to write. Without a connection there is nothing to note: the next one begins with all that is wanted. The caller
// holds the lock.
func (l *link) ask(r request) {
	if l.connected {
		l.todo = append(l.todo, r)
	}
}

// sharded returns the verb by which a channel is asked for. In a Cluster the channels of addresses live where their slots
// do. The others may be of any node's slot, so they are plain channels, which every node has.
func (l *link) sharded(w *want, v verb) verb {
	switch {
	case l.feed.store.cluster == nil || w.use > ofSecondName:
		return v
	case v == subscribe:
		return ssubscribe
	}
	return sunsubscribe
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// retire ends a link whose node has left the cluster, and returns what it followed.
func (l *link) retire() []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired = true; l.end != nil {
		l.end()
	}
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
	if l.end = cancel; l.retired {
		cancel()
	}
	l.mu.Unlock()
	for try := 0; ctx.Err() == nil; try++ {
		start := time.Now()
		err := l.session(ctx)
		l.echo.Store(0)
		if ctx.Err() != nil {
			return nil
		}
		l.feed.store.log.Warn("a subscription connection was lost, connecting again", slog.String("error", fmt.Sprint(err)))
		if time.Since(start) > 10*time.Second {
			try = 0
		}
		pause(ctx, try)
	}
	return nil
}

// session is the life of one connection.
func (l *link) session(ctx context.Context) error {
	conn, push, err := l.dial(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends a waiting read
	defer stop()
	defer func() { _ = conn.Close() }()
	l.begin()
	defer l.lose()
	h := &hearing{link: l, conn: conn, push: push}
	g.Go(h.run)
	g.Go(func() error { return l.askLoop(ctx, conn) })
	g.Go(func() error { return l.probeLoop(ctx, push == resp.Push) })
	return g.Wait()
}

// begin asks for everything that is wanted. Second names come after the addresses' own, and the probe comes last: when it is
// heard, so is everything before it.
func (l *link) begin() {
	l.heard.Store(time.Now().UnixMilli())
	bridging := l.feed.bridges(l)
	l.mu.Lock()
	l.connected, l.lifeless, l.todo, l.asked = true, false, nil, nil
	var own, second []*want
	for channel, w := range l.wanted {
		switch w.use {
		case ofAddress:
			own = append(own, w)
		case ofSecondName:
			second = append(second, w)
		case ofBridge, ofProbe, ofLife:
			delete(l.wanted, channel)
		}
	}
	for _, w := range append(own, second...) {
		l.want(w)
	}
	if bridging {
		l.wantBridges()
	}
	l.want(&want{channel: l.probe, use: ofProbe})
	l.mu.Unlock()
	l.signal()
}

// followBridges asks for the bridged channels on a connection that has begun.
func (l *link) followBridges() {
	l.mu.Lock()
	if l.connected {
		l.wantBridges()
	}
	l.mu.Unlock()
	l.signal()
}

// wantBridges asks for the bridged channels. The caller holds the lock.
func (l *link) wantBridges() {
	for _, rule := range l.feed.store.cfg.Bridges {
		l.want(&want{channel: rule.Channel, use: ofBridge, rule: rule})
	}
}

// lose notes that the connection has ended.
func (l *link) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected = false
	for _, w := range l.wanted {
		w.sent, w.open = false, false
		if w.sub != nil {
			if w.sub.on.Swap(false) {
				l.feed.store.interruptions.lost.Inc()
			}
			w.lapsed = w.lapsed || w.sub.ever.Load()
		}
	}
}

// errRefused is an answer that a link cannot live with.
var errRefused = errors.New("the server refused")
