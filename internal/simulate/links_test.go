package simulate_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/redis/links"
	"github.com/trunkline/trunkline/internal/simulate"
)

// connections is the feed of Redis. What it reads stops at any byte, and payloads look like the protocol.
var connections = kind{
	plan: simulate.Plan{
		Machine: "links", Least: 5, Most: 30,
		First: []simulate.Step{{Do: "follow", N: 0}, {Do: "follow", N: 1}, {Do: "follow", N: 2}},
		Verbs: []simulate.Verb{
			{Do: "send", Weight: 12, Most: 8},
			{Do: "stop", Weight: 6, Most: 1},
			{Do: "bytes", Weight: 6, Most: 40},
			{Do: "until", Weight: 12, Most: 7},
			{Do: "go on", Weight: 4, Most: 1},
			{Do: "snap", Weight: 2, Most: 1},
			{Do: "time", Weight: 8, Most: 6},
			{Do: "follow", Weight: 2, Most: 2},
			{Do: "leave", Weight: 1, Most: 2},
		},
	},
	rest: 4 * time.Second,
	make: func(tb testing.TB, w *world) machine {
		m := &linkMachine{world: w, server: &pubsub{}, places: map[bus.Address]*track{}}
		w.addresses = neighbours(tb)
		for _, a := range w.addresses {
			m.places[a] = &track{}
		}
		m.client = redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, Dialer: func(context.Context, string, string) (net.Conn, error) { return m.server.dial(), nil }})
		m.feed = links.New(links.Config{
			Client: m.client, Timeout: 2 * time.Second, Metrics: links.NewMetrics(nil), Log: slog.New(slog.DiscardHandler),
			Channel: channelOf, Alias: func(bus.Address) string { return "" },
			Probe: func(id string) string { return "probe:" + id }, Life: func(id string) string { return "life:" + id },
			Decode: func(to bus.Address, payload []byte) (*bus.Message, bool) {
				text, ours := bytes.CutPrefix(payload, []byte("\n"))
				if !ours {
					return nil, false
				}
				id, _, _ := strings.Cut(string(text), " ")
				return &bus.Message{To: to, ID: id, Data: text}, false
			},
			Send: func(_ context.Context, cmd redis.Cmder) error {
				args := cmd.Args()
				m.server.publish(fmt.Sprint(args[1]), fmt.Sprint(args[2]))
				return nil
			},
			Saw: func(string, int) {},
		})
		return m
	},
}

// neighbours returns two addresses that share a connection, and one of the other.
func neighbours(tb testing.TB) []bus.Address {
	tb.Helper()
	var near, far []bus.Address
	for n := 0; len(near) < 2 || len(far) < 1; n++ {
		a := name(tb, fmt.Sprint("channels/live:", n))
		if links.OfSingle(a) == "0" {
			near = append(near, a)
		} else {
			far = append(far, a)
		}
	}
	return append(near[:2:2], far[0])
}

func channelOf(a bus.Address) string { return "of:" + a.String() }

// linkMachine is who follows on the feed, and who publishes.
type linkMachine struct {
	*world
	server *pubsub
	client *redis.Client
	feed   *links.Feed
	ctx    context.Context

	mu     sync.Mutex
	places map[bus.Address]*track
}

// track is how far an address is, and its follower. The number of a message is its position: a live address has none.
type track struct {
	sent, at uint64
	follows  bool
	doubt    bool // something may have been missed
	session  int
}

func (m *linkMachine) run(ctx context.Context) error {
	m.ctx = ctx
	err := m.feed.Run(ctx, m)
	m.server.running.Wait()
	_ = m.client.Close()
	return err
}

// event records something about an address.
func (m *linkMachine) event(e judge.Event, a bus.Address, n uint64) {
	e.Address = a.String()
	e.Who, e.Session = "reader", fmt.Sprint("session ", m.places[a].session)
	if n > 0 {
		e.Position = judge.Position{Epoch: "one", Seq: n}
	}
	m.ledger.Add(e)
}

// Deliver takes what the feed brings.
func (m *linkMachine) Deliver(message *bus.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := message.To
	p := m.places[a]
	if !p.follows {
		return
	}
	var n uint64
	_, _ = fmt.Sscanf(message.ID, a.String()+"#%d", &n)
	m.note("%s comes on %s", message.ID, a)
	if p.doubt && n > p.at+1 {
		e := judge.Event{Kind: judge.Gap, From: judge.Position{Epoch: "one", Seq: p.at}}
		m.event(e, a, n-1)
	}
	p.doubt, p.at = false, max(n, p.at)
	m.event(judge.Event{Kind: judge.Delivered, Key: message.ID, Digest: fmt.Sprint(len(message.Data))}, a, n)
}

// Interrupted is told by the feed.
func (m *linkMachine) Interrupted(addresses []bus.Address) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note("%v may have missed something", addresses)
	for _, a := range addresses {
		m.places[a].doubt = true
	}
}

func (m *linkMachine) step(s simulate.Step) {
	a := m.address(s.N)
	switch s.Do {
	case "send":
		m.publish(a, s.N/3)
	case "stop":
		m.server.change(s.N, func(c *wireEnd) { c.stopped = true })
	case "go on":
		m.server.change(s.N, func(c *wireEnd) { c.stopped = false })
	case "bytes":
		m.server.change(s.N, func(c *wireEnd) { c.pass = 1 + s.N/2 })
	case "until":
		m.server.change(s.N, func(c *wireEnd) { c.pass = max(0, bytes.IndexByte(c.out[min(1, len(c.out)):], ">$\r\n"[s.N/2])+1) })
	case "snap":
		m.server.change(s.N, func(c *wireEnd) { c.gone = true })
	case "follow":
		go m.follow(a)
	case "leave":
		m.mu.Lock()
		if p := m.places[a]; p.follows {
			p.follows = false
			m.event(judge.Event{Kind: judge.Unsubscribed}, a, 0)
			m.feed.Unsubscribe(a)
		}
		m.mu.Unlock()
	}
}

// publish publishes a message. Its payload may look like a push of another address.
func (m *linkMachine) publish(a bus.Address, form int) {
	m.mu.Lock()
	p := m.places[a]
	p.sent++
	id := fmt.Sprint(a, "#", p.sent)
	other := m.addresses[0]
	if other == a {
		other = m.addresses[1]
	}
	payload := "\n" + id + " " + strings.Repeat(">3\r\n"+bulk("message")+bulk(channelOf(other))+bulk("\nforged x"), form)
	m.event(judge.Event{Kind: judge.Sent, Key: id, Digest: fmt.Sprint(len(payload) - 1)}, a, 0)
	m.event(judge.Event{Kind: judge.Answered, Key: id}, a, p.sent)
	m.note("%s is published, with %d pushes to %s inside", id, form, other)
	m.mu.Unlock()
	m.server.publish(channelOf(a), payload)
}

// follow follows an address, until it succeeds or the end. What is published after the answer has to come.
func (m *linkMachine) follow(a bus.Address) {
	for m.ctx.Err() == nil {
		m.mu.Lock()
		follows := m.places[a].follows
		m.mu.Unlock()
		if follows {
			return
		}
		ctx, cancel := context.WithTimeout(m.ctx, 5*time.Second)
		err := m.feed.Subscribe(ctx, a)
		cancel()
		m.mu.Lock()
		if p := m.places[a]; err == nil && !p.follows {
			p.follows, p.doubt, p.at = true, false, p.sent
			p.session++
			m.event(judge.Event{Kind: judge.Subscribed}, a, p.at)
			m.note("%s is followed from %d on", a, p.at)
		}
		m.mu.Unlock()
	}
}

func (m *linkMachine) settle() {
	for which := range 2 {
		m.server.change(which, func(c *wireEnd) { c.stopped = false })
	}
	m.rest(4 * m.pause())
	for _, a := range m.addresses {
		m.publish(a, 0)
	}
	m.rest(m.pause())
	m.mu.Lock()
	defer m.mu.Unlock()
	for a, p := range m.places {
		if p.follows {
			m.event(judge.Event{Kind: judge.Finished}, a, 0)
		}
	}
}
