package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// link is one subscription connection: a loop that reads it, a loop that asks for channels, and a probe
// that goes out as a publish and has to come back. It is made anew whenever it breaks or is silent.
type link struct {
	feed   *feed
	name   string
	client *redis.Client
	probe  string // a channel of its own
	wake   chan struct{}
	echo   atomic.Int64 // when the probe came back last, in Unix ms; 0 while it has not on this connection

	// repeat is the second name on which the message read last comes again: the publish script sends on both channels in one
	// step, so nothing else comes between. The read loop's own.
	repeat string

	mu      sync.Mutex
	wanted  map[string]bool // channels
	lapsed  map[string]bool // channels whose messages may have been missed
	pending map[string]int  // how many confirmations of a channel are still to come on this connection
	changes []request
	end     context.CancelFunc // set by run
}

// request is one wish to subscribe or unsubscribe.
type request struct {
	channel string
	on      bool
}

// chunk is how many channels one command names.
const chunk = 500

func newLink(f *feed, name string, client *redis.Client) *link {
	return &link{
		feed: f, name: name, client: client,
		probe:   f.store.keys.probe(uuid.NewString()),
		wake:    make(chan struct{}, 1),
		wanted:  make(map[string]bool),
		lapsed:  make(map[string]bool),
		pending: make(map[string]int),
	}
}

// ask notes that channels are wanted, or are not any more.
func (l *link) ask(on bool, channels ...string) {
	l.mu.Lock()
	for _, channel := range channels {
		if on {
			l.wanted[channel] = true
			l.pending[channel]++
		} else {
			delete(l.wanted, channel)
			delete(l.lapsed, channel)
		}
		l.changes = append(l.changes, request{channel, on})
	}
	l.mu.Unlock()
	l.signal()
}

// askMoved is ask for a channel that comes from another link: messages may have been missed.
func (l *link) askMoved(channel string) {
	l.mu.Lock()
	l.lapsed[channel] = true
	l.mu.Unlock()
	l.ask(true, channel)
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// retire ends a link whose node has left the cluster.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end()
	}
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
	l.end = cancel
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
	ps := l.client.Subscribe(ctx)
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() }) // ends a waiting read
	defer stop()
	defer func() { _ = ps.Close() }()
	l.mu.Lock()
	l.changes = l.changes[:0]
	clear(l.pending)
	var seconds []request // second names are asked for last
	for channel := range l.wanted {
		l.pending[channel] = 1
		if _, own := l.feed.store.keys.address(channel); own {
			l.changes = append(l.changes, request{channel, true})
		} else {
			seconds = append(seconds, request{channel, true})
		}
	}
	l.changes = append(l.changes, seconds...)
	l.mu.Unlock()
	l.signal()
	if err := l.subscribe(ctx, ps, l.probe); err != nil {
		return err
	}
	if l.bridging() {
		if err := ps.Subscribe(ctx, l.bridges()...); err != nil {
			return fmt.Errorf("subscribe to bridges: %w", err)
		}
	}
	g.Go(func() error { return l.readLoop(ctx, ps) })
	g.Go(func() error { return l.askLoop(ctx, ps) })
	g.Go(func() error { return l.probeLoop(ctx) })
	err := g.Wait()
	l.mu.Lock()
	for channel := range l.wanted {
		l.lapsed[channel] = true
	}
	l.mu.Unlock()
	return err
}

// bridging says whether this link is the feed's one that listens to bridged channels.
func (l *link) bridging() bool {
	if len(l.feed.store.cfg.Bridges) == 0 {
		return false
	}
	if l.feed.store.cluster == nil {
		return l.name == "0"
	}
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	for name := range l.feed.links {
		if name < l.name {
			return false
		}
	}
	return true
}

func (l *link) bridges() []string {
	var names []string
	for _, b := range l.feed.store.cfg.Bridges {
		names = append(names, b.Channel)
	}
	return names
}

func (l *link) sharded() bool { return l.feed.store.cluster != nil }

// eachSlot calls f with the channels that may stand in one command: in a Cluster a command's channels have to
// be of one slot, so each goes alone.
func (l *link) eachSlot(channels []string, f func(channels ...string) error) error {
	if !l.sharded() {
		return f(channels...)
	}
	for _, c := range channels {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) subscribe(ctx context.Context, ps *redis.PubSub, channels ...string) error {
	err := l.eachSlot(channels, func(channels ...string) error {
		// The probe's slot may be another node's, so it goes by a plain channel, which every node hears.
		if l.sharded() && channels[0] != l.probe {
			return ps.SSubscribe(ctx, channels...)
		}
		return ps.Subscribe(ctx, channels...)
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func (l *link) unsubscribe(ctx context.Context, ps *redis.PubSub, channels ...string) error {
	err := l.eachSlot(channels, func(channels ...string) error {
		if l.sharded() {
			return ps.SUnsubscribe(ctx, channels...)
		}
		return ps.Unsubscribe(ctx, channels...)
	})
	if err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}

// askLoop sends wishes in order, as many in one command as are of one kind. What comes while a command
// is written goes with the next one.
func (l *link) askLoop(ctx context.Context, ps *redis.PubSub) error {
	for {
		runtime.Gosched() // who is about to ask joins
		l.mu.Lock()
		changes := l.changes
		l.changes = nil
		l.mu.Unlock()
		for len(changes) > 0 {
			n := 1
			for n < len(changes) && n < chunk && changes[n].on == changes[0].on {
				n++
			}
			names := make([]string, n)
			for i, c := range changes[:n] {
				names[i] = c.channel
			}
			send := l.unsubscribe
			if changes[0].on {
				send = l.subscribe
			}
			if err := send(ctx, ps, names...); err != nil {
				return err
			}
			changes = changes[n:]
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readLoop reads the connection. It tells of an interruption before it hands on the first message after it.
func (l *link) readLoop(ctx context.Context, ps *redis.PubSub) error {
	var lapsed []bus.Address
	l.repeat = ""
	for {
		got, err := ps.ReceiveTimeout(ctx, 200*time.Millisecond)
		if err != nil {
			l.feed.interrupted(lapsed)
			lapsed = nil
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() && ctx.Err() == nil {
				continue // quiet; the probe knows whether it is too quiet
			}
			return fmt.Errorf("read: %w", err)
		}
		switch got := got.(type) {
		case *redis.Subscription:
			if !strings.HasSuffix(got.Kind, "unsubscribe") {
				if a, ok := l.confirmed(got.Channel); ok {
					lapsed = append(lapsed, a)
				}
			}
		case *redis.Message:
			l.feed.interrupted(lapsed)
			lapsed = nil
			l.received(got)
		}
	}
}

// confirmed notes that a channel is subscribed; true when messages of it may have been missed before. One that
// was left and asked for again is subscribed when its last wish is confirmed: the answers come in order.
func (l *link) confirmed(channel string) (bus.Address, bool) {
	sub, second := l.feed.sub(channel)
	l.mu.Lock()
	if l.pending[channel] > 1 {
		l.pending[channel]--
		l.mu.Unlock()
		return bus.Address{}, false
	}
	delete(l.pending, channel)
	if sub == nil {
		l.mu.Unlock()
		return bus.Address{}, false
	}
	missed := l.lapsed[channel]
	delete(l.lapsed, channel)
	l.mu.Unlock()
	if second || l.feed.store.secondName(sub.address) == "" { // the second name is asked for last
		sub.once.Do(func() { close(sub.ready) })
	}
	return sub.address, missed
}

func (l *link) received(got *redis.Message) {
	skip := l.repeat
	l.repeat = ""
	if got.Channel == l.probe {
		if got.Payload != "" {
			l.feed.marked(got.Payload)
			return
		}
		l.echo.Store(time.Now().UnixMilli())
		return
	}
	for _, rule := range l.feed.store.cfg.Bridges {
		if got.Channel == rule.Channel {
			l.feed.bridged(rule, got.Payload)
			return
		}
	}
	sub, second := l.feed.sub(got.Channel)
	if sub == nil {
		return
	}
	if second {
		if got.Channel == skip {
			return
		}
		if m, ok := l.feed.store.recorded(sub.address, got.Payload); ok {
			l.feed.take(m)
		}
		return
	}
	m, repeated, err := decodePush(sub.address, got.Payload)
	if repeated {
		l.repeat = l.feed.store.secondName(sub.address)
	}
	if err != nil {
		l.feed.store.log.Warn("a pushed message cannot be read", slog.String("address", sub.address.String()), slog.Int("bytes", len(got.Payload)))
		return
	}
	l.feed.take(m)
}
