package edge

import (
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// subscription is one session's place in a group. It begins holding: what arrives
// is kept back while the session learns its position and replays. Fields are guarded by the shard's lock.
type subscription struct {
	session *session
	address bus.Address
	place   int  // in the group
	owned   bool // the session's own address with an inbox; never changes
	watches bool // is told who comes and goes
	asks    bool // the authorizer is asked about its messages with an ack; never changes

	listed int64 // since when it is in the roster, in ms; 0 when it is not

	holding bool
	missed  bool // more arrived than is held
	held    []*parcel
	weight  int // of what is held, in bytes

	// line says what the client has had. It is asked until what arrives is in step with it: what was already on its way
	// through the shard may be part of the replay, or of an epoch before.
	line     bus.Line
	catching bool
	settles  uint64 // after so many rounds of the shard, nothing arrives that is older than the subscription

	mark   string        // where what is retained was read
	marked chan struct{} // closed when the mark has come; nil unless somebody waits for it

	lag *lag // what is missing of a client that is behind; nil when it is not
	// ended is set while holding when the channel was deleted: it ends when it is let in.
	ended bool
	gone  bool // it has ended
}

func newSubscription(s *session, who *bus.Identity, a bus.Address) *subscription {
	owned := a.HasInbox() && who.Owns(a)
	return &subscription{session: s, address: a, owned: owned, asks: owned && bus.AsksDeliver(s.owner.cfg.Authorizer)}
}

// hold keeps parcels back, up to a number and a size. The caller holds the lock.
func (sh *shard) hold(sub *subscription, due []*parcel) {
	for _, p := range due {
		if p.mark() {
			sub.reach(p.m.ID)
			continue
		}
		if sub.ended {
			continue
		}
		sub.line.Show(p.position())
		size := sizeOf(p)
		if sub.missed || !sh.roomFor(sub, size) {
			sub.missed = true
			continue
		}
		sub.held = append(sub.held, p)
		sub.weight += size
		sh.held += size
	}
}

// roomFor says whether one more parcel may be held. What is beyond is read from the log.
func (sh *shard) roomFor(sub *subscription, size int) bool {
	cfg := &sh.owner.cfg
	return len(sub.held) < cfg.HoldLimit && (len(sub.held) == 0 || sub.weight+size <= cfg.HoldBytes && sh.held+size <= cfg.HoldTotal/len(sh.hub.shards))
}

// letGo empties what is held, and returns it. The caller holds the lock.
func (sh *shard) letGo(sub *subscription) []*parcel {
	held := sub.held
	sh.held -= sub.weight
	sub.held, sub.weight = nil, 0
	return held
}

// fresh is sift for a subscription that does not hold. The caller holds the lock.
func (sh *shard) fresh(sub *subscription, due []*parcel) ([]*parcel, bool) {
	if sh.rounds >= sub.settles {
		sub.line.Settle()
	}
	return sub.sift(due)
}

// sift leaves out what the client has had, and returns the same list when that is nothing. It returns false when it cannot be
// told before the log has been read; nothing has changed then. The caller holds the shard's lock.
func (s *subscription) sift(due []*parcel) ([]*parcel, bool) {
	line, next, same := s.line, due, true
	for i, p := range due {
		standing := line.Take(p.span())
		switch {
		case standing == bus.Doubtful:
			return nil, false
		case standing == bus.Had && same:
			next, same = slices.Clone(due[:i]), false
		case standing == bus.Next && !same:
			next = append(next, p)
		}
	}
	s.line = line
	s.catching = !line.InStep()
	return next, true
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
	if p.m != nil {
		return p.m.Position
	}
	return p.gap.To
}

// reading notes that a read of the log begins, for a subscription that holds.
func (sh *shard) reading(sub *subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sub.line.Reading()
}

// begin ends the holding of a subscription that follows from where the stream is. It returns false when the log has to be read
// from there first.
func (sh *shard) begin(sub *subscription) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sub.gone || sh.release(sub)
}

// place says where the stream was when a subscription began to hold. What it brought before is through the shard within two
// rounds: one may be under way, and one is being collected.
func (sh *shard) place(subs []*subscription, at []bus.Position) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i, sub := range subs {
		sub.line.Start(at[i]) //nolint:gosec // one for each
		sub.settles = sh.rounds + 2
	}
}

// flip ends holding after the log was read up to a position: what is held and comes after it is written, and from then on the
// session gets messages as they arrive. It returns false when more was missed than is held, or it is not known what
// comes after it, and the log has to be read again from there.
func (sh *shard) flip(sub *subscription, read bus.Position) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sub.gone {
		return true
	}
	sub.line.Read(read)
	return sh.release(sub)
}

// release lets a subscription have what is held. The caller holds the lock.
func (sh *shard) release(sub *subscription) bool {
	if sub.missed && !sub.line.At().IsZero() {
		sub.missed = false
		sh.letGo(sub)
		return false
	}
	held, sure := sub.sift(sub.held)
	if !sure {
		return false
	}
	sh.letGo(sub)
	if sub.missed { // of a live address: there is no log to read them from
		held = append(slices.Clip(held), sh.owner.gapParcel(bus.Gap{Address: sub.address, Reason: bus.GapSlow}))
		sub.missed = false
	}
	sub.holding, sub.lag = false, nil
	if sub.owned && sub.doubtful(held) {
		sh.question(sub, held)
		return true
	}
	if len(held) > 0 {
		sh.clock = time.Now().UnixMilli()
		if out := sub.session.join(held); len(out) > 0 && sh.pass(sub, out, held) {
			sub.session.noteSent(sub, held)
		}
	}
	if sub.ended {
		sh.end(sub)
	}
	return true
}

// reread stops writing to a subscription, and has its log read from where its client is. What is due waits. The caller holds the
// lock.
func (sh *shard) reread(sub *subscription, due []*parcel) {
	sub.lag = &lag{}
	sub.holding = true
	sh.hold(sub, due)
	sh.wait(sub)
}
