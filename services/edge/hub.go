package edge

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// hub hands messages to sessions. It is sharded by core: a connection belongs to one shard, a shard is one
// goroutine. An address that has subscribers in a shard is a group there. What arrives for a shard while it
// is writing is merged in the next round, so merging grows with the load and delays nothing.
type hub struct {
	shards []*shard

	mu    sync.RWMutex
	index map[bus.Address]uint64 // which shards have a group, by bit
	// watched is how many subscriptions of an address are told who comes and goes.
	watched map[bus.Address]int
}

// maxShards is what fits the index's bits.
const maxShards = 64

func newHub(owner *Edge) *hub {
	h := &hub{index: make(map[bus.Address]uint64), watched: make(map[bus.Address]int)}
	for i := range min(runtime.GOMAXPROCS(0), maxShards) {
		h.shards = append(h.shards, newShard(h, owner, i))
	}
	return h
}

// parcel is one message or gap on its way through the shards. Its bytes are made once for each dialect that needs them.
type parcel struct {
	m   *bus.Message
	gap *bus.Gap

	mu     sync.Mutex
	frames []encoded  // by dialect
	few    [2]encoded // the frames, when there are no more dialects than our own
}

// encoded is the frame of a parcel in one dialect; bytes is set before made, and empty when the dialect has no words for it.
type encoded struct {
	made  atomic.Bool
	bytes []byte
}

// newParcel returns a parcel of a message or a gap, for as many dialects.
func newParcel(m *bus.Message, gap *bus.Gap, dialects int) *parcel {
	p := &parcel{m: m, gap: gap}
	if dialects <= len(p.few) {
		p.frames = p.few[:dialects]
	} else {
		p.frames = make([]encoded, dialects)
	}
	return p
}

func (p *parcel) address() bus.Address {
	if p.m != nil {
		return p.m.To
	}
	return p.gap.Address
}

// bytes returns the frame for a dialect.
func (p *parcel) bytes(d dialect.Dialect, slot int) []byte {
	f := &p.frames[slot]
	if f.made.Load() {
		return f.bytes
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !f.made.Load() {
		f.bytes = p.encode(d)
		f.made.Store(true)
	}
	return f.bytes
}

func (p *parcel) encode(d dialect.Dialect) []byte {
	if e := p.event(); e != nil {
		return replyFrame(d, e)
	}
	return messageFrame(d, p.m)
}

// event is what the parcel is to a client; nil for a publisher's message.
func (p *parcel) event() *edgev1.ServerFrame {
	switch {
	case p.m == nil:
		return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: gapProto(*p.gap)}}
	case p.m.Kind == bus.MessageDismissal:
		return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Dismissed{
			Dismissed: &publishv1.Dismissed{Address: p.m.To.String(), Ids: []string{p.m.ID}},
		}}
	case p.m.Kind == bus.MessagePresence:
		return presenceEvent(p.m)
	}
	return nil
}

// frameOverhead is what a message's metadata costs in an encoding, about.
const frameOverhead = 256

// messageFrame and replyFrame return nil for a stateful dialect, which has words for a connection alone: one whose
// conversation has not begun yet is told nothing.
func messageFrame(d dialect.Dialect, m *bus.Message) []byte {
	words, ok := d.(dialect.Stateless)
	if !ok {
		return nil
	}
	return wire.Frame(byte(words.Opcode()), len(m.Data)+frameOverhead, func(dst []byte) []byte { return words.Message(dst, m) })
}

func replyFrame(d dialect.Dialect, f *edgev1.ServerFrame) []byte {
	words, ok := d.(dialect.Stateless)
	if !ok {
		return nil
	}
	return wire.Frame(byte(words.Opcode()), frameOverhead, func(dst []byte) []byte { return words.Reply(dst, f) })
}

func gapProto(g bus.Gap) *publishv1.Gap {
	return &publishv1.Gap{
		Address: g.Address.String(),
		From:    positionProto(g.From),
		To:      positionProto(g.To),
		Reason:  string(g.Reason),
	}
}

func positionProto(p bus.Position) *publishv1.Position {
	if p.IsZero() {
		return nil
	}
	return &publishv1.Position{Epoch: p.Epoch, Offset: p.Offset}
}

// sink is what the tail hands messages to.
type sink struct {
	hub   *hub
	slots int
	gaps  prometheus.Counter
}

// Deliver puts a message into every shard that has subscribers for it.
func (s sink) Deliver(m *bus.Message) {
	if m.Kind == bus.MessageReceipt {
		return // for who watches a receipt
	}
	if m.Kind == bus.MessagePresence && !s.hub.watches(m.To) {
		return
	}
	s.hub.spread(newParcel(m, nil, s.slots))
}

// Gap puts a gap into every shard that has subscribers for it.
func (s sink) Gap(g bus.Gap) {
	s.gaps.Inc()
	s.hub.spread(newParcel(nil, &g, s.slots))
}

func (h *hub) spread(p *parcel) {
	h.mu.RLock()
	bits := h.index[p.address()]
	h.mu.RUnlock()
	for i := 0; bits != 0; i, bits = i+1, bits>>1 {
		if bits&1 != 0 {
			h.shards[i].enqueue(p)
		}
	}
}

// mark notes whether a shard has a group for the address.
func (h *hub) mark(a bus.Address, shard int, has bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bits := h.index[a]
	if has {
		bits |= 1 << shard
	} else {
		bits &^= 1 << shard
	}
	if bits == 0 {
		delete(h.index, a)
		return
	}
	h.index[a] = bits
}

// run runs the shards until ctx ends.
func (h *hub) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, sh := range h.shards {
		g.Go(func() error { return sh.run(ctx) })
	}
	return g.Wait()
}

// sessions calls f for every session, shard by shard; f must not call the hub.
func (h *hub) sessions(f func(*session)) {
	for _, sh := range h.shards {
		sh.mu.Lock()
		for _, s := range sh.sessions {
			f(s)
		}
		sh.mu.Unlock()
	}
}
