package redis_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/testkit"
)

// splitter passes the messages of one channel on in pieces. With each message other bytes have their turn.
type splitter struct {
	channel string
	passed  chan bool // for each message, whether there are bytes that had no turn yet

	mu  sync.Mutex
	way func(wire []byte, n int) (pieces [][]byte, more bool)
	n   int // messages so far
}

// begin goes through all bytes again, in another way.
func (s *splitter) begin(way func(wire []byte, n int) ([][]byte, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way, s.n = way, 0
}

func (s *splitter) pass(v resp.Value, wire []byte) [][]byte {
	if channelOf(v) != s.channel {
		return [][]byte{wire}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces, more := s.way(wire, s.n)
	s.n++
	s.passed <- more
	return pieces
}

// turns is how many bytes are next to each other in inRow, and how far they are apart in apart.
const turns = 512

// inRow sends as many bytes of the n-th message in a row, each by itself.
func inRow(wire []byte, n int) (pieces [][]byte, more bool) {
	from := n * turns
	to := min(from+turns, len(wire))
	pieces = append(pieces, wire[:from])
	for i := from; i < to; i++ {
		pieces = append(pieces, wire[i:i+1])
	}
	return append(pieces, wire[to:]), to < len(wire)
}

// apart sends bytes of the n-th message each by itself, and what is between them whole.
func apart(wire []byte, n int) (pieces [][]byte, more bool) {
	from := 0
	for i := n; i < len(wire); i += turns {
		pieces = append(pieces, wire[from:i], wire[i:i+1])
		from = i + 1
	}
	return append(pieces, wire[from:]), n+1 < turns
}

// The network stops before and behind every byte of a large message. A pause begins when the reader has used everything and
// waits, and it is longer than any deadline that a quiet connection might have.
func TestFeed_survivesAPauseAtEveryByteOfALargeMessage(t *testing.T) {
	for name, c := range large(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			direct := open(t, server.URL())
			victim := address(t, "clients/victim")
			l := &lane{victim: victim, data: c.data, kind: c.kind}
			for i := 0; l.to.IsZero() || direct.LinkOf(l.to) != direct.LinkOf(victim); i++ {
				l.to = address(t, fmt.Sprintf("channels/split:%d", i))
			}
			split := &splitter{channel: "tl:{" + l.to.String() + "}:p", passed: make(chan bool, 1)}
			proxy := redistest.NewProxy(t, server.Addr(), time.Second, split.pass)
			s, log := counting(t, redis.Config{URL: proxy.URL()})
			s.DialWith(proxy.Dial)
			l.follow(t, s)
			for _, way := range []func([]byte, int) ([][]byte, bool){inRow, apart} {
				split.begin(way)
				l.send(t, direct, split)
			}
			l.run(t, direct, 0) // nothing else has come
			if lines := log.lines.Load(); lines > 0 {
				t.Errorf("%d warnings", lines)
			}
		})
	}
}

// send publishes until every byte has had its turn.
func (l *lane) send(t *testing.T, direct *redis.Store, split *splitter) {
	t.Helper()
	late := time.NewTimer(0)
	defer late.Stop()
	for i, more := 0, true; more; i++ {
		m := bus.Message{ID: fmt.Sprint("m", i), To: l.to, Data: l.data, ContentType: l.kind, Published: time.Now()}
		_, err := direct.Publish(t.Context(), bustest.Admit(bus.Publication{Message: m}))
		testkit.Check(t, err)
		late.Reset(20 * time.Second)
		select {
		case more = <-split.passed:
		case <-late.C:
			t.Fatalf("message %d has not come to the proxy", i)
		}
		select {
		case got := <-l.r.messages:
			if got.To != l.to || got.ID != m.ID || !bytes.Equal(got.Data, l.data) {
				t.Fatalf("message %d: got %s to %s with %.20q", i, got.ID, got.To, got.Data)
			}
		case <-late.C:
			t.Fatalf("message %d is lost", i)
		}
	}
}
