package edge

import (
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Following is one subscription of an edge that does not run, over a loopback connection. The caller plays the tail: it
// hands over the stream, and runs the rounds of the shard.
type Following struct {
	tb    testing.TB
	sink  sink
	s     *session
	sub   *subscription
	peer  net.Conn
	spare []*parcel
}

// Follow attaches a subscription that speaks the dialect of the slot. Until it is placed and started it holds.
func Follow(tb testing.TB, e *Edge, to bus.Address, slot int) *Following {
	tb.Helper()
	s, peer := connect(tb, e, slot)
	f := &Following{tb: tb, s: s, peer: peer}
	f.sink = sink{hub: e.hub, slots: len(e.slots), gaps: e.metrics.gaps}
	f.s.shard = e.hub.shards[0]
	f.sub = &subscription{session: f.s, address: to}
	f.s.subs = append(f.s.subs, f.sub)
	f.s.shard.attach(f.s.subs)
	return f
}

// Deliver and Gap are the stream's.
func (f *Following) Deliver(m *bus.Message) { f.sink.Deliver(m) }

// Gap is what the stream tells.
func (f *Following) Gap(g bus.Gap) { f.sink.Gap(g) }

// Turn is a round of the shard.
func (f *Following) Turn() { f.spare = f.s.shard.turn(f.spare) }

// Rest is a second in which nothing came.
func (f *Following) Rest() { f.s.shard.rest() }

// Place says where the stream was after the subscription was attached.
func (f *Following) Place(at bus.Position) { f.s.shard.place(f.s.subs, []bus.Position{at}) }

// Start lets messages through, after a replay if there is a position.
func (f *Following) Start(at bus.Position, after *bus.Position) {
	req := &request{sub: f.sub}
	if after != nil {
		req.replay, req.after = true, *after
	}
	f.s.start(req, at)
}

// Behind does what happens when the client has no room for a message; false when the subscription is not written to.
func (f *Following) Behind(due *bus.Message) bool {
	f.s.shard.mu.Lock()
	defer f.s.shard.mu.Unlock()
	if f.sub.holding || f.sub.lag != nil || f.sub.gone || f.sub.catching {
		return false
	}
	f.s.shard.fallBehind(f.sub, []*parcel{newParcel(due, nil, len(f.s.owner.slots))})
	return true
}

// Gone says whether the subscription has ended.
func (f *Following) Gone() bool { return f.sub.isGone() }

// Leave ends the subscription.
func (f *Following) Leave() { f.s.leave(f.sub) }

// Quiet says whether the subscription neither holds nor catches up.
func (f *Following) Quiet() bool {
	f.s.shard.mu.Lock()
	defer f.s.shard.mu.Unlock()
	return f.sub.gone || !f.sub.holding && f.sub.lag == nil && !f.s.catching
}

// Refused says why the session was ended; empty when it was not.
func (f *Following) Refused() string {
	if e := f.s.refused.Load(); e != nil {
		return e.Reason
	}
	return ""
}

// Held is how many bytes the shard holds.
func (f *Following) Held() int {
	f.s.shard.mu.Lock()
	defer f.s.shard.mu.Unlock()
	return f.s.shard.held
}

// End closes the connection, so that Read comes to an end.
func (f *Following) End() { _ = f.s.conn.Close() }

// readTimeout is how long Read waits at most.
const readTimeout = 30 * time.Second

// Read returns the next frame; nil at the end.
func (f *Following) Read() *edgev1.ServerFrame {
	if err := f.peer.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return nil
	}
	var head [2]byte
	if _, err := io.ReadFull(f.peer, head[:]); err != nil {
		return nil
	}
	n := int(head[1])
	for extra := map[int]int{126: 2, 127: 8}[n]; extra > 0; extra-- {
		var b [1]byte
		if _, err := io.ReadFull(f.peer, b[:]); err != nil {
			return nil
		}
		if n > 125 && extra == map[int]int{126: 2, 127: 8}[int(head[1])] {
			n = 0
		}
		n = n<<8 | int(b[0])
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(f.peer, body); err != nil {
		return nil
	}
	frame := new(edgev1.ServerFrame)
	if err := proto.Unmarshal(body, frame); err != nil {
		f.tb.Errorf("frame of %d bytes: %v", n, err)
		return nil
	}
	return frame
}

// Wrote waits for the writers of backlogs and for those who catch up.
func (e *Edge) Wrote() { e.writers.Wait() }

// Expire lets the token end.
func (f *Following) Expire(at time.Time) { f.s.conn.ExpireAt(at) }

// Hold makes the subscription hold again, and Begin lets go of what it holds.
func (f *Following) Hold() {
	f.s.shard.mu.Lock()
	defer f.s.shard.mu.Unlock()
	f.sub.holding = true
}

// Begin lets go of what is held.
func (f *Following) Begin() { f.s.shard.begin(f.sub) }

// Paced writes as a replay does.
func (f *Following) Paced(p []byte) { _ = f.s.paced(f.tb.Context(), p) }

// Count reads until the error that ends the session, and returns how many messages came before.
func (f *Following) Count() (n int) {
	for frame := f.Read(); frame != nil && frame.GetError() == nil; frame = f.Read() {
		n++
	}
	return n
}

// Backlogs is how many connections have a backlog, Refused how many were told to end.
func (e *Edge) Backlogs() (n int) {
	e.hub.sessions(func(s *session) {
		if !s.conn.Idle() {
			n++
		}
	})
	return n
}

// Refused is how many open connections were told to end.
func (e *Edge) Refused() (n int) {
	e.hub.sessions(func(s *session) {
		if s.refused.Load() != nil {
			n++
		}
	})
	return n
}

// Waiting is how many messages wait for the shard.
func (f *Following) Waiting() int {
	n, _ := f.s.shard.inbox.waiting()
	return n
}

// Still keeps the shard from writing while something is done.
func (f *Following) Still(do func()) {
	f.s.shard.mu.Lock()
	defer f.s.shard.mu.Unlock()
	do()
}
