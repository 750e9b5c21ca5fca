package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/testkit"
)

// lostLinks counts the warnings of a store.
type lostLinks struct {
	slog.Handler
	lines atomic.Int64
}

func (l *lostLinks) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		l.lines.Add(1)
	}
	return l.Handler.Handle(ctx, r)
}

func (l *lostLinks) Enabled(context.Context, slog.Level) bool { return true }

// counting opens a store whose warnings are counted.
func counting(t *testing.T, cfg redis.Config) (*redis.Store, *lostLinks) {
	t.Helper()
	log := &lostLinks{Handler: slog.NewTextHandler(t.Output(), nil)}
	s, err := redis.Open(cfg, slog.New(log))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	return s, log
}

// forgery is the text of a frame, in both versions of the protocol, that carries a message for somebody else.
func forgery(victim bus.Address) []byte {
	env := "\n" + string([]byte{10, 1, 'x', 18, 6}) + "forged" + string([]byte{24, 2})
	name := "tl:{" + victim.String() + "}:p"
	var b bytes.Buffer
	for _, kind := range []string{"*", ">"} {
		fmt.Fprintf(&b, "%s3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", kind, len(name), name, len(env), env)
	}
	return b.Bytes()
}

// cuts hands out where messages are cut: the next place of the channel's list.
type cuts struct {
	mu     sync.Mutex
	places map[string][]int
}

// channelOf is the channel of a message; empty for anything else.
func channelOf(v resp.Value) string {
	if len(v.Items) != 3 || string(v.Items[0].Text) != "message" {
		return ""
	}
	return string(v.Items[1].Text)
}

// add notes a place. The connections are read meanwhile.
func (c *cuts) add(name string, place int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[name] = append(c.places[name], place)
}

func (c *cuts) pass(v resp.Value, wire []byte) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := channelOf(v)
	places := c.places[name]
	if len(places) == 0 {
		return [][]byte{wire}
	}
	c.places[name] = places[1:]
	return redistest.Cut(wire, places[0])
}

// payload is data that looks like the protocol.
type payload struct {
	data []byte
	kind bus.ContentType
}

// small returns payloads that are a frame for somebody else.
func small(t *testing.T) map[string]payload {
	fake := forgery(address(t, "clients/victim"))
	return map[string]payload{
		"text":   {fake, bus.Text},
		"binary": {append([]byte{0, 0xff, '\r', '\n'}, fake...), bus.Binary},
	}
}

// large returns payloads of 64 KiB that are full of such frames.
func large(t *testing.T) map[string]payload {
	const size = 64 << 10
	fake := forgery(address(t, "clients/victim"))
	filled := append(bytes.Repeat(fake, size/len(fake)), make([]byte, size%len(fake))...)
	return map[string]payload{
		"64 KiB text":   {bytes.ReplaceAll(filled, []byte{0}, []byte("-")), bus.Text},
		"64 KiB binary": {filled, bus.Binary},
	}
}

// The network stops for a while in front of a byte of a pushed message, and again behind it; each byte has its turn. Nothing is
// forged, nothing is lost, and the connection is the same as before.
func TestFeed_survivesAPauseAtEveryByte(t *testing.T) {
	all := small(t)
	maps.Copy(all, large(t))
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			splitEverywhere(t, address(t, "clients/victim"), c.data, c.kind)
		})
	}
}

// splitEverywhere sends the data as often as there are places to cut it, over many feeds at once.
func splitEverywhere(t *testing.T, victim bus.Address, data []byte, kind bus.ContentType) {
	const feeds = 48
	server := redistest.Start(t)
	at := &cuts{places: map[string][]int{}}
	proxy := redistest.NewProxy(t, server.Addr(), 250*time.Millisecond, at.pass)
	direct := open(t, server.URL())
	s, log := counting(t, redis.Config{URL: proxy.URL()})
	var lanes []*lane
	for i := range feeds {
		l := &lane{to: address(t, fmt.Sprintf("channels/split:%02d", i)), victim: victim, data: data, kind: kind}
		l.follow(t, s)
		lanes = append(lanes, l)
	}
	size := frameSize(len(data), len("tl:{"+lanes[0].to.String()+"}:p"))
	n := 0
	for place := 0; place < size; place++ {
		if ends := 400; place > ends && place < size-ends {
			place = min(place+1999, size-ends) // samples of a large body
		}
		name := "tl:{" + lanes[n%feeds].to.String() + "}:p"
		at.add(name, place)
		n++
	}
	var done sync.WaitGroup
	for i, l := range lanes {
		rounds := n / feeds
		if i < n%feeds {
			rounds++
		}
		done.Go(func() { l.run(t, direct, rounds) })
	}
	done.Wait()
	for name, left := range at.places {
		if len(left) > 0 {
			t.Errorf("%s was not cut at %v", name, left)
		}
	}
	if lines := log.lines.Load(); lines > 0 {
		t.Errorf("%d warnings", lines)
	}
}

// frameSize is the least that a frame with so much data takes.
func frameSize(data, name int) int {
	return len(">3\r\n$7\r\nmessage\r\n$NN\r\n\r\n$NNN\r\n\r\n") + name + data
}

// lane is a feed whose messages are cut.
type lane struct {
	to, victim bus.Address
	data       []byte
	kind       bus.ContentType
	r          *receiver
}

func (l *lane) follow(t *testing.T, s *redis.Store) {
	t.Helper()
	var f bus.Feed
	l.r, f = follow(t, s, l.to)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	testkit.Check(t, f.Subscribe(ctx, l.victim))
}

func (l *lane) run(t *testing.T, direct *redis.Store, rounds int) {
	for i := range rounds {
		m := bus.Message{ID: fmt.Sprint("m", i), To: l.to, Data: l.data, ContentType: l.kind, Published: time.Now()}
		if _, err := direct.Publish(t.Context(), bustest.Admit(bus.Publication{Message: m})); err != nil {
			t.Error(err)
			return
		}
		select {
		case got := <-l.r.messages:
			if got.To != l.to || got.ID != m.ID || !bytes.Equal(got.Data, l.data) {
				t.Errorf("%s, message %d: got %s to %s with %.20q", l.to, i, got.ID, got.To, got.Data)
				return
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: message %d is lost", l.to, i)
			return
		}
	}
	if len(l.r.messages) > 0 {
		t.Errorf("%s: %d messages besides", l.to, len(l.r.messages))
	}
	if len(l.r.interrupted) > 0 {
		t.Errorf("%s was interrupted", l.to)
	}
}
