package fan

import (
	"sync"
	"sync/atomic"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// parcel is one message or gap on its way through the shards. Its bytes are made once for each dialect that needs them.
type parcel struct {
	m     *bus.Message
	gap   *bus.Gap
	crowd *edgev1.ServerFrame // presence changes; nil for any other message

	mu     sync.Mutex
	frames []encoded  // by dialect
	few    [2]encoded // the frames, when there are no more dialects than our own
}

// encoded is the frame of a parcel in one dialect; bytes is set before made, and empty when the dialect has no words for it.
type encoded struct {
	made  atomic.Bool
	bytes []byte
}

// languages is what parcels are encoded in, and who is told of a parcel that cannot be.
type languages struct {
	dialects    []dialect.Dialect
	unencodable func(why error)
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

// span is what a parcel covers: a gap from one position to another, or a message, which has no from.
func (p *parcel) span() (from, to bus.Position) {
	if p.m != nil {
		return bus.Position{}, p.m.Position
	}
	return p.gap.From, p.gap.To
}

// position is where a parcel stands in the log; zero for one that does not.
func (p *parcel) position() bus.Position {
	_, to := p.span()
	return to
}

// before is the position after which the log has the parcels; false when it has none of them.
func before(due []*parcel) (bus.Position, bool) {
	for _, p := range due {
		switch {
		case p.gap != nil:
			return p.gap.From, true
		case !p.m.Position.IsZero():
			return bus.Position{Epoch: p.m.Position.Epoch, Offset: p.m.Position.Offset - 1}, true
		}
	}
	return bus.Position{}, false
}

// isMark says whether the parcel is a mark, by which a subscription finds out that everything before it has come.
func (p *parcel) isMark() bool { return p.m != nil && p.m.Kind == bus.MessageMark }

// deletes says whether the parcel tells the end of the channel.
func (p *parcel) deletes() bool { return p.m != nil && p.m.Kind == bus.MessageDeleted }

// presence says whether the parcel tells who came or went.
func (p *parcel) presence() bool { return p.m != nil && p.m.Kind == bus.MessagePresence }

// asksForAck says whether the parcel is a message that is to be acknowledged.
func (p *parcel) asksForAck() bool { return p.m != nil && p.m.Ack != 0 && p.m.Kind == bus.MessageData }

// withheld says whether the connection of the client must not have the parcel.
func (p *parcel) withheld(client, connection string, now time.Time) bool {
	return p.m != nil && (!p.m.For(client, connection) || p.m.Expired(now))
}

// special says whether some subscribers must not have some of the parcels.
func special(due []*parcel, now time.Time) bool {
	for _, p := range due {
		if p.m != nil && (p.m.Selective() || p.m.Expired(now)) {
			return true
		}
	}
	return false
}

// frameOverhead is what a message's metadata costs in an encoding, about.
const frameOverhead = 256

// size is about how many bytes the parcel's frame has.
func (p *parcel) size() int {
	if p.m == nil {
		return frameOverhead
	}
	return len(p.m.Data) + frameOverhead
}

// mergeLimit is how many bytes of one address are written to a connection at once.
const mergeLimit = 64 << 10

// piece says how many of the parcels are written at once.
func piece(due []*parcel) int {
	size := 0
	for i, p := range due {
		if p.m != nil {
			size += p.size()
		}
		if size > mergeLimit && i > 0 {
			return i
		}
	}
	return len(due)
}

// bytes returns the frame for a dialect.
func (p *parcel) bytes(l *languages, slot int) []byte {
	f := &p.frames[slot]
	if f.made.Load() { // what all but the first subscriber find, without a lock
		return f.bytes
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !f.made.Load() {
		f.bytes = p.encode(l, l.dialects[slot])
		f.made.Store(true)
	}
	return f.bytes
}

// encode makes the frame. What cannot be put into words is told as a gap: its subscribers must not take silence for nothing.
func (p *parcel) encode(l *languages, d dialect.Dialect) []byte {
	e := p.event()
	if e == nil {
		return messageFrame(d, p.m)
	}
	b, err := eventFrame(d, e)
	if err != nil {
		l.unencodable(err)
		gap := convert.GapProto(bus.Gap{Address: p.address(), Reason: bus.GapTailUnknown})
		b, _ = eventFrame(d, &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: gap}}) // an address always encodes
	}
	return b
}

// event is what the parcel is to a client; nil for a publisher's message.
func (p *parcel) event() *edgev1.ServerFrame {
	switch {
	case p.m == nil:
		return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: convert.GapProto(*p.gap)}}
	case p.m.Kind == bus.MessageDismissal:
		return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Dismissed{
			Dismissed: &publishv1.Dismissed{Address: p.m.To.String(), Ids: []string{p.m.ID}},
		}}
	}
	return p.crowd
}

// presenceFrame says who came and went.
func presenceFrame(e *publishv1.PresenceEvent) *edgev1.ServerFrame {
	return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_PresenceEvent{PresenceEvent: e}}
}

// messageFrame and eventFrame return nil for a stateful dialect, which has words for a connection alone. A connection whose
// conversation has not begun yet is told nothing.
func messageFrame(d dialect.Dialect, m *bus.Message) []byte {
	words, ok := d.(dialect.Stateless)
	if !ok {
		return nil
	}
	return wire.Frame(byte(words.Opcode()), len(m.Data)+frameOverhead, func(dst []byte) []byte { return words.Message(dst, m) })
}

func eventFrame(d dialect.Dialect, f *edgev1.ServerFrame) (frame []byte, err error) {
	words, ok := d.(dialect.Stateless)
	if !ok {
		return nil, nil
	}
	frame = wire.Frame(byte(words.Opcode()), frameOverhead, func(dst []byte) []byte {
		if dst, err = words.Reply(dst, f); err != nil {
			return nil
		}
		return dst
	})
	return frame, err
}
