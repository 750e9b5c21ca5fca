package redis_test

import (
	"context"
	"fmt"
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

// intruder adds something behind the next message of a channel.
type intruder struct {
	mu    sync.Mutex
	added map[string]string
}

func (i *intruder) pass(v resp.Value, wire []byte) [][]byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	name := channelOf(v)
	add := i.added[name]
	delete(i.added, name)
	return [][]byte{append(wire, add...)}
}

func (i *intruder) add(channel, text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.added[channel] = text
}

func message(text string) bus.Publication {
	return bus.Publication{Message: bus.Message{ID: text, Data: []byte(text), ContentType: bus.Text, Published: time.Now()}}
}

// What a server does not say at its place ends the connection, and the interruption is told; the feed goes on with a new one.
func TestFeed_failsClosed(t *testing.T) {
	victim := "tl:{clients/victim}:p"
	env := "\n" + string([]byte{10, 1, 'x', 18, 6}) + "forged" + string([]byte{24, 2})
	payload := fmt.Sprintf("$%d\r\n%s\r\n$%d\r\n%s\r\n", len(victim), victim, len(env), env)
	server := redistest.Start(t)
	in := &intruder{added: map[string]string{}}
	proxy := redistest.NewProxy(t, server.Addr(), 0, in.pass)
	s := open(t, proxy.URL())
	direct := open(t, server.URL())
	for name, add := range map[string]string{
		"a bulk string":                         "$5\r\nhello\r\n",
		"a pong":                                "+PONG\r\n",
		"a pushed pong":                         ">2\r\n$4\r\npong\r\n$0\r\n\r\n",
		"a number":                              ":1\r\n",
		"an error":                              "-ERR out of the blue\r\n",
		"an empty map":                          "%0\r\n",
		"an array in place of a push":           "*3\r\n$7\r\nmessage\r\n" + payload,
		"a message with a pattern":              ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n" + payload,
		"a message of too few parts":            ">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
		"a message without a payload":           ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$-1\r\n",
		"a message whose payload is a number":   ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n:1\r\n",
		"a push of an unknown kind":             ">3\r\n$10\r\ninvalidate\r\n" + payload,
		"a kind that is no bulk string":         ">3\r\n+message\r\n" + payload,
		"a subscription nobody asked for":       fmt.Sprintf(">3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(victim), victim),
		"a confirmation without a channel":      ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n",
		"a confirmation whose count is a text":  fmt.Sprintf(">3\r\n$11\r\nunsubscribe\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(victim), victim),
		"a text that is longer than its length": ">3\r\n$7\r\nmessage\r\n$1\r\nxx\r\n$0\r\n\r\n",
		"rubbish":                               "rubbish\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := address(t, fmt.Sprintf("channels/closed:%d", len(name)*1000+len(add)))
			r, f := follow(t, s, a)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			testkit.Check(t, f.Subscribe(ctx, address(t, "clients/victim")))
			in.add("tl:{"+a.String()+"}:p", add)
			p := message("before")
			p.Message.To = a
			_, err := direct.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			if m := next(t, r); m.To != a || m.ID != "before" {
				t.Fatalf("got %+v", m)
			}
			select {
			case <-r.interrupted:
			case <-time.After(20 * time.Second):
				t.Fatal("no interruption is told")
			}
			p = message("after")
			p.Message.To = a
			_, err = direct.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			if m := next(t, r); m.To != a || m.ID != "after" {
				t.Fatalf("got %+v", m)
			}
		})
	}
}

// A subscription that the server ends is asked for again at once and its interruption is told; nobody else notices.
func TestFeed_asksAgainForWhatTheServerEnded(t *testing.T) {
	server := redistest.Start(t)
	in := &intruder{added: map[string]string{}}
	proxy := redistest.NewProxy(t, server.Addr(), 0, in.pass)
	s, log := counting(t, redis.Config{URL: proxy.URL()})
	a := address(t, "channels/ended")
	r, _ := follow(t, s, a)
	channel := "tl:{" + a.String() + "}:p"
	for range 20 {
		in.add(channel, fmt.Sprintf(">3\r\n$11\r\nunsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(channel), channel))
		p := message("one")
		p.Message.To = a
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
		next(t, r)
		select {
		case <-r.interrupted:
		case <-time.After(20 * time.Second):
			t.Fatal("no interruption is told")
		}
	}
	if lines := log.lines.Load(); lines > 0 {
		t.Errorf("%d warnings", lines)
	}
}

// A connection that has become deaf without ending is noticed by its probe, readiness says so, and another one takes over. So is
// one whose message never ends.
func TestFeed_leavesAConnectionThatIsSilent(t *testing.T) {
	for name, silence := range map[string]func(wire []byte) [][]byte{
		"nothing comes":          func([]byte) [][]byte { return nil },
		"a message does not end": func(wire []byte) [][]byte { return [][]byte{wire[:len(wire)-1]} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var silent atomic.Bool
			proxy := redistest.NewProxy(t, server.Addr(), 0, func(v resp.Value, wire []byte) [][]byte {
				if v.Kind == resp.Push && silent.Load() {
					return silence(wire)
				}
				return [][]byte{wire}
			})
			s := open(t, proxy.URL())
			a := address(t, "channels/silent")
			r, f := follow(t, s, a)
			silent.Store(true)
			testkit.Eventually(t, "readiness is red", func() bool { return f.Ready() != nil })
			silent.Store(false)
			select {
			case <-r.interrupted:
			case <-time.After(20 * time.Second):
				t.Fatal("no interruption is told")
			}
			arrives(t, s, r, a)
			testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
		})
	}
}
