package fan

import (
	"context"
	"io"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Following is one subscription over a loopback connection. The caller plays the tail: it hands over the stream, and runs the
// rounds of the shard.
type Following struct {
	rig   *Rig
	m     *member
	sub   *Subscription
	peer  net.Conn
	spare []*parcel
}

// Follow attaches a subscription that speaks the dialect of the slot. Until it is placed and started it holds.
func (r *Rig) Follow(to bus.Address, slot int) *Following {
	r.tb.Helper()
	m, peer := r.join(slot)
	f := &Following{rig: r, m: m, peer: peer, sub: &Subscription{to: m.Subscriber, address: to}}
	m.Attach([]*Subscription{f.sub})
	return f
}

// Add attaches one more subscription, which is told who comes and goes.
func (f *Following) Add(to bus.Address) {
	f.m.Attach([]*Subscription{f.m.NewSubscription(new(bus.Identity), to, true)})
}

// FollowBoth attaches two subscriptions of one client, which hears both addresses in the order in which messages come.
func (r *Rig) FollowBoth(one, other bus.Address) *Following {
	r.tb.Helper()
	m, peer := r.join(0)
	m.ordered = true
	f := &Following{rig: r, m: m, peer: peer, sub: &Subscription{to: m.Subscriber, address: one}}
	second := &Subscription{to: m.Subscriber, address: other}
	m.Attach([]*Subscription{f.sub, second})
	m.Place([]*Subscription{f.sub, second}, make([]bus.Position, 2))
	f.sub.Begin()
	second.Begin()
	return f
}

// Deliver and Gap are the stream's.
func (f *Following) Deliver(m *bus.Message) { f.rig.hub.Deliver(m) }

// Gap is what the stream tells.
func (f *Following) Gap(g bus.Gap) { f.rig.hub.Gap(g) }

// Turn is a round of the shard.
func (f *Following) Turn() { f.spare = f.m.shard.turn(f.spare) }

// Rest is a second in which nothing came.
func (f *Following) Rest() { f.m.shard.rest() }

// Place says where the stream was after the subscription was attached.
func (f *Following) Place(at bus.Position) { f.m.Place([]*Subscription{f.sub}, []bus.Position{at}) }

// Start lets messages through, after a replay if there is a position.
func (f *Following) Start(at bus.Position, after *bus.Position) {
	if after == nil {
		if f.sub.Begin() {
			return
		}
		after = &at
	}
	ctx, cancel := context.WithTimeout(context.Background(), ReplayTimeout)
	defer cancel()
	if err := f.sub.Replay(ctx, f.rig.tail, *after); err != nil {
		f.m.Refuse(rpc.FromError(err))
	}
}

// Behind does what happens when the client has no room for a message; false when the subscription is not written to.
func (f *Following) Behind(due *bus.Message) bool {
	f.m.shard.mu.Lock()
	defer f.m.shard.mu.Unlock()
	if f.sub.holding || f.sub.lag != nil || f.sub.gone.Load() || f.sub.catching {
		return false
	}
	f.sub.fallBehind([]*parcel{newParcel(due, nil, len(f.rig.hub.cfg.Dialects))})
	return true
}

// Gone says whether the subscription has ended.
func (f *Following) Gone() bool { return f.sub.Gone() }

// Leave ends the subscription.
func (f *Following) Leave() { f.m.Detach([]*Subscription{f.sub}) }

// Quiet says whether the subscription neither holds nor catches up.
func (f *Following) Quiet() bool {
	f.m.shard.mu.Lock()
	defer f.m.shard.mu.Unlock()
	return f.sub.gone.Load() || !f.sub.holding && f.sub.lag == nil && !f.m.catching
}

// Refused says why the session was ended; empty when it was not.
func (f *Following) Refused() string {
	if e := f.m.refused.Load(); e != nil {
		return e.Reason
	}
	return ""
}

// Held is how many bytes the shard holds.
func (f *Following) Held() int {
	f.m.shard.mu.Lock()
	defer f.m.shard.mu.Unlock()
	return f.m.shard.held
}

// End closes the connection, so that Read comes to an end.
func (f *Following) End() { _ = f.m.Conn.Close() }

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
		f.rig.tb.Errorf("frame of %d bytes: %v", n, err)
		return nil
	}
	return frame
}

// Expire lets the token end.
func (f *Following) Expire(at time.Time) { f.m.Conn.ExpireAt(at) }

// Hold makes the subscription hold again, and Begin lets go of what it holds.
func (f *Following) Hold() {
	f.m.shard.mu.Lock()
	defer f.m.shard.mu.Unlock()
	f.sub.holding = true
}

// Begin lets go of what is held.
func (f *Following) Begin() { f.sub.Begin() }

// Paced writes as a replay does.
func (f *Following) Paced(p []byte) { _ = f.m.Paced(f.rig.tb.Context(), p) }

// Count reads until the error that ends the session, and returns how many messages came before.
func (f *Following) Count() (n int) {
	for frame := f.Read(); frame != nil && frame.GetError() == nil; frame = f.Read() {
		n++
	}
	return n
}

// Waiting is how many messages wait for the shard.
func (f *Following) Waiting() int {
	n, _ := f.m.shard.inbox.waiting()
	return n
}

// Still keeps the shard from writing while something is done.
func (f *Following) Still(do func()) {
	f.m.shard.mu.Lock()
	defer f.m.shard.mu.Unlock()
	do()
}
