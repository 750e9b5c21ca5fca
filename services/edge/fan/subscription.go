package fan

import (
	"slices"
	"sync/atomic"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Subscription is one subscriber's place in a group. It begins holding: what arrives is kept back while the session learns
// where it stands, and replays. From then on it is in one of these states:
//
//	| state    | holding | lag   | what arrives                    | the next state                                                |
//	|----------|---------|-------|---------------------------------|---------------------------------------------------------------|
//	| starting | yes     | none  | is held                         | writing, when Begin or Flip return true                       |
//	| writing  | no      | none  | is written                      | asking, piling or reading, as below                           |
//	| asking   | yes     | none  | is held                         | writing, when the session has said which messages it may have |
//	| piling   | no      | queue | replaces or pushes out in queue | writing, when the client has read its backlog and the queue   |
//	| reading  | yes     | empty | is held                         | writing, when the log was read again as far as it goes        |
//	| ended    | yes     | any   | is dropped                      | gone, when it would be writing                                |
//	| gone     | any     | any   | is not given to it              | none                                                          |
//
// A subscription that writes goes on to one of three states:
//
//   - To asking, for a message where it has to be asked first whether the device may have it.
//   - To piling, when the client is slow and the namespace drops or conflates.
//   - To reading, when the client is slow or behind in the log otherwise.
//
// Within these states, more is noted:
//
//   - missed: not everything that arrived is held, so the log is read once more before it writes.
//     A live address gets a gap instead.
//   - catching: what arrives is compared with line, because it may be part of what was replayed, or of an epoch before.
//   - joinedBy: how long that can be so at most, in rounds of the shard.
//   - mark: somebody waits until everything before a place in the stream has come.
//
// All fields are guarded by the shard's lock, except those that never change.
type Subscription struct {
	to      *Subscriber // never changes
	address bus.Address // never changes
	place   int         // in the group
	owned   bool        // the subscriber's own address with an inbox; never changes
	asks    bool        // the authorizer is asked about its messages with an ack; never changes
	watches bool        // is told who comes and goes

	listed int64 // since when it is in the roster, in ms; 0 when it is not

	holding bool
	missed  bool // more arrived than is held
	held    []*parcel
	weight  int // of what is held, in bytes

	// line says what the client has had. It is asked until what arrives is in step with it. What was already on its way through
	// the shard may be part of the replay, or of an epoch before.
	line     bus.Line
	catching bool
	joinedBy uint64 // after so many rounds of the shard, nothing arrives that is older than the subscription

	mark *mark // nil unless somebody waits for it

	lag *lag // what is missing of a client that is behind; nil when it is not
	// ended is set while holding when the channel was deleted: it ends when it is let in.
	ended bool
	gone  atomic.Bool // it has ended; set with the lock held, and read without it too
}

// NewSubscription returns a subscription of the subscriber, who is going to be that identity. It watches when it is to be told
// who comes and goes.
func (s *Subscriber) NewSubscription(who *bus.Identity, a bus.Address, watches bool) *Subscription {
	a = a.Clone() // it may be a part of a whole frame; all maps by address take theirs from here
	owned := a.HasInbox() && who.Owns(a)
	return &Subscription{to: s, address: a, owned: owned, watches: watches, asks: owned && bus.AsksDeliver(s.shard.hub.cfg.Authorizer)}
}

// Address is what is followed.
func (s *Subscription) Address() bus.Address { return s.address }

// Subscriber is to whom messages go.
func (s *Subscription) Subscriber() *Subscriber { return s.to }

// Owned says whether the address is the subscriber's own, with an inbox.
func (s *Subscription) Owned() bool { return s.owned }

// Listed is since when the subscription is in the roster, in Unix milliseconds. Only what List or Hub.Listed call may ask.
func (s *Subscription) Listed() int64 { return s.listed }

// At is up to where the client of a subscription that holds has had everything.
func (s *Subscription) At() bus.Position {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	return s.line.At()
}

// Gone says whether the subscription has ended.
func (s *Subscription) Gone() bool { return s.gone.Load() }

// Watches says whether it is told who comes and goes. Only the one that calls Unwatch may ask.
func (s *Subscription) Watches() bool { return s.watches }

// Unwatch ends what it is told about who comes and goes, also what is on its way to it.
func (s *Subscription) Unwatch() {
	sh := s.to.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.hub.watch(s, -1)
	s.watches = false
	s.held = slices.DeleteFunc(s.held, (*parcel).presence)
	if s.lag != nil {
		s.lag.unwatch()
	}
}

// Begin ends the holding of a subscription that follows from where the stream is. It returns false when the log has to be read
// from there first.
func (s *Subscription) Begin() bool {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	return s.gone.Load() || s.release()
}

// Reading notes that a read of the log begins, for a subscription that holds.
func (s *Subscription) Reading() {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	s.line.Reading()
}

// Flip ends holding after the log was read up to a position. What is held and comes after the position is written, and from
// then on the client gets messages as they arrive. Flip returns false when more was missed than is held, or it is not known
// what comes after it. Then the log has to be read again from there.
func (s *Subscription) Flip(read bus.Position) bool {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	if s.gone.Load() {
		return true // nothing is left to read for
	}
	s.line.Read(read)
	return s.release()
}

// release lets a subscription have what is held. The caller holds the lock.
func (s *Subscription) release() bool {
	if s.missed && !s.line.At().IsZero() {
		s.missed = false
		s.letGo() // the log has it too, and what is held alone would leave a hole
		return false
	}
	held, sure := s.sift(s.held)
	if !sure {
		return false // what is held stays: the next read of the log says what of it is new
	}
	s.letGo()
	if s.missed { // of a live address: there is no log to read them from
		held = append(slices.Clip(held), s.to.shard.hub.gapParcel(bus.Gap{Address: s.address, Reason: bus.GapSlow}))
		s.missed = false
	}
	s.holding, s.lag = false, nil
	if s.owned && s.doubtful(held) {
		s.ask(held) // it holds again, for another reason, and nobody has to read the log
		return true
	}
	s.write(held)
	if s.ended {
		s.end()
	}
	return true
}

// write writes parcels that were held. The caller holds the lock.
func (s *Subscription) write(held []*parcel) {
	if len(held) == 0 {
		return
	}
	s.to.shard.clock = time.Now().UnixMilli() // that of the last round may be long ago
	if out := s.to.join(held); len(out) > 0 && s.pass(out, held) {
		s.noteSent(held)
	}
}

// hold keeps parcels back, up to a number and a size. The caller holds the lock.
func (s *Subscription) hold(due []*parcel) {
	for _, p := range due {
		if p.isMark() {
			s.reach(p.m.ID)
			continue
		}
		if s.ended {
			continue // of another channel of the name
		}
		s.line.Show(p.position()) // also of what is not kept: the line is to know that it exists
		size := p.size()
		if s.missed || !s.roomFor(size) {
			s.missed = true
			continue
		}
		s.held = append(s.held, p)
		s.weight += size
		s.to.shard.held += size
	}
}

// roomFor says whether one more parcel may be held. What is beyond is read from the log.
func (s *Subscription) roomFor(size int) bool {
	sh := s.to.shard
	cfg := &sh.hub.cfg
	if len(s.held) >= cfg.HoldLimit {
		return false
	}
	// One parcel always has room, or a large one could never be given.
	return len(s.held) == 0 || s.weight+size <= max(cfg.HoldBytes, s.to.Hold) && sh.held+size <= cfg.HoldTotal/len(sh.hub.shards)
}

// letGo empties what is held. The caller holds the lock.
func (s *Subscription) letGo() {
	s.to.shard.held -= s.weight
	s.held, s.weight = nil, 0
}

// fresh is sift for a subscription that does not hold. The caller holds the lock.
func (s *Subscription) fresh(due []*parcel) ([]*parcel, bool) {
	if s.to.shard.rounds >= s.joinedBy {
		s.line.Joined()
	}
	return s.sift(due)
}

// sift leaves out what the client has had, and returns the same list when that is nothing. It returns false when it cannot be
// told before the log has been read; nothing has changed then. The caller holds the lock.
func (s *Subscription) sift(due []*parcel) ([]*parcel, bool) {
	line, next, same := s.line, due, true // a copy of the line, which counts only if nothing is doubtful
	for i, p := range due {
		standing := line.Take(p.span())
		switch {
		case standing == bus.Doubtful:
			return nil, false
		case standing == bus.Had && same:
			next, same = slices.Clone(due[:i]), false // due is shared with other subscribers
		case standing == bus.Next && !same:
			next = append(next, p)
		}
	}
	s.line = line
	s.catching = !line.InStep()
	return next, true
}

// wanted leaves out who comes and goes when the subscription did not ask for it, and marks that it does not wait for.
func (s *Subscription) wanted(due []*parcel) []*parcel {
	unwanted := func(p *parcel) bool { return p.presence() && !s.watches || p.isMark() && !s.holding }
	if slices.ContainsFunc(due, unwanted) {
		return slices.DeleteFunc(slices.Clone(due), unwanted)
	}
	return due
}

// reread stops writing to a subscription, and has its log read from where its client is. What is due waits. The caller holds the
// lock.
func (s *Subscription) reread(due []*parcel) {
	s.lag = &lag{}
	s.holding = true
	s.hold(due)
	s.to.wait(s)
}

// lapse has the log read from where the shard stopped to keep what came, or tells a gap. The caller holds the lock.
func (s *Subscription) lapse(l *lapse) {
	sh := s.to.shard
	for _, mark := range l.marks {
		s.reach(mark)
	}
	switch {
	case s.holding: // it reads the log, or tells a gap, when it is let in
		s.missed = true
	case s.lag != nil:
		s.lag.lapse(s.address, l)
	case !l.from.IsZero():
		if !s.catching {
			s.line.Rest(l.from) // it has had everything before, which line was not asked about
		}
		s.lag = &lag{}
		s.holding, s.missed = true, true
		s.to.wait(s)
	default:
		clear(sh.merged)
		sh.give(s, []*parcel{sh.hub.gapParcel(bus.Gap{Address: s.address, Reason: bus.GapSlow})}, true)
	}
}

// end ends a subscription whose channel was deleted, and tells its client. The caller holds the lock.
func (s *Subscription) end() {
	sh := s.to.shard
	sh.drop(s) // first: the event is to be the last thing that its client is told of the address
	s.to.Session.Left(s)
	b := s.to.EventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Unsubscribed{
		Unsubscribed: &publishv1.Unsubscribed{Address: s.address.String()},
	}})
	if len(b) > 0 {
		s.to.Push(b, sh.attempt)
	}
}
