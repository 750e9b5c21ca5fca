package edge

import (
	"slices"

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

	// catching is set until the first message after the flip: what was already on its way
	// through the shard may be part of the replay, and is skipped up to seen.
	catching bool
	seen     bus.Position

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

func (s *subscription) hold(due []*parcel, limit int) {
	for _, p := range due {
		if p.mark() {
			s.reach(p.m.ID)
			continue
		}
		if s.ended {
			continue
		}
		if s.missed || len(s.held) >= limit {
			s.missed = true
			continue
		}
		s.held = append(s.held, p)
	}
}

// skipSeen drops the parcels that the replay contained. They come first, but for parcels without a position, which
// may stand between them.
func (s *subscription) skipSeen(due *[]*parcel) {
	for len(*due) > 0 && s.replayed((*due)[0]) {
		*due = (*due)[1:]
	}
	if slices.ContainsFunc(*due, s.replayed) {
		*due = slices.DeleteFunc(slices.Clone(*due), s.replayed)
	}
}

func (s *subscription) replayed(p *parcel) bool {
	at := p.position()
	return !at.IsZero() && at.Epoch == s.seen.Epoch && at.Offset <= s.seen.Offset
}

// position is where a parcel stands in the log; zero for one that does not.
func (p *parcel) position() bus.Position {
	if p.m != nil {
		return p.m.Position
	}
	return p.gap.To
}

// placed says whether one of the parcels has a position.
func placed(due []*parcel) bool {
	return slices.ContainsFunc(due, func(p *parcel) bool { return !p.position().IsZero() })
}

// flip ends holding: what is held and comes after the position is written, and from then on the
// session gets messages as they arrive. It returns false when more was missed than is held
// and the log has to be read again from the position.
func (sh *shard) flip(sub *subscription, seen bus.Position) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sub.gone {
		return true
	}
	if sub.missed && !seen.IsZero() {
		sub.missed = false
		sub.held = nil
		return false
	}
	held := sub.held
	sub.held = nil
	sub.seen = seen
	sub.skipSeen(&held)
	if sub.missed { // of a live address: there is no log to read them from
		held = append(held, sh.owner.gapParcel(bus.Gap{Address: sub.address, Reason: bus.GapSlow}))
		sub.missed = false
	}
	sub.holding, sub.lag = false, nil
	sub.catching = !seen.IsZero()
	if sub.owned && sub.doubtful(held) {
		sh.question(sub, held)
		return true
	}
	if len(held) > 0 {
		if out := sub.session.join(held); len(out) > 0 && sh.pass(sub, out, held) {
			sub.session.noteSent(sub, held)
		}
	}
	if sub.ended {
		sh.end(sub)
	}
	return true
}
