package edge

import (
	"context"
	"errors"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// A client that reads more slowly than it is sent to falls behind in the addresses that find its backlog full. What it
// then gets is the namespace's choice, and it is told a gap where that means that messages are missing. All
// fields of lag and the methods on it are guarded by the shard's lock.

// lag is what a subscription that is behind still has to be given.
type lag struct {
	queue   []*parcel // what is kept, oldest first; nil where a newer one took the place, and where the log has it
	keys    map[string]int
	bytes   int
	skipped bus.Gap // what was dropped
	lossy   bool    // something was
}

// lagLimit is how many messages of one address are kept for a client that is behind.
const lagLimit = 1024

// pass writes the joined frames of parcels to a subscriber. It returns false when they were not written.
func (sh *shard) pass(sub *subscription, out []byte, due []*parcel) bool {
	s := sub.session
	if s.conn.Expired(sh.clock) {
		s.refuse(bus.ErrTokenExpired)
		return false
	}
	err := s.conn.SendMessages(out, sh.attempt)
	if errors.Is(err, wire.ErrSlow) {
		sh.fallBehind(sub, due)
	}
	return err == nil
}

// fallBehind stops writing to a subscription until the client has read its backlog.
func (sh *shard) fallBehind(sub *subscription, due []*parcel) {
	s := sub.session
	policy := sh.owner.overload(sub)
	sh.owner.metrics.lagging.WithLabelValues(string(policy)).Inc()
	switch policy {
	case bus.Disconnect:
		sh.owner.metrics.slow.Inc()
		s.refuse(bus.ErrSlowConsumer)
		return
	case bus.CatchUp:
		from, ok := before(due)
		if !ok {
			return // nothing that the log could give again
		}
		for _, p := range due {
			sub.line.Show(p.position())
		}
		sub.line.Rest(from)
		sub.lag = &lag{}
		sub.holding, sub.missed = true, true
	default:
		sub.lag = &lag{keys: make(map[string]int)}
		sub.pile(due, sh.owner.cfg.QueueBytes/4, sh.owner.cfg.Namespaces.For(sub.address).ConflateKey)
	}
	sh.wait(sub)
}

// wait puts a subscription among those that catch up when the client has read its backlog. The caller holds the lock.
func (sh *shard) wait(sub *subscription) {
	s := sub.session
	s.behind = append(s.behind, sub)
	if !s.catching {
		s.catching = true
		s.conn.WhenDrained(func() { sh.owner.writers.Go(func() { s.catchUp() }) })
	}
}

// overload is what a subscription's client gets when it is too slow.
func (e *Edge) overload(sub *subscription) bus.Overload {
	if sub.owned {
		return bus.Disconnect // its inbox waits for it, and is delivered again
	}
	return e.cfg.Namespaces.For(sub.address).Policy()
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

// pile keeps parcels for a client that is behind, the newest ones; with a key, the newest of each key.
func (s *subscription) pile(due []*parcel, limit int, attribute string) {
	l := s.lag
	for _, p := range due {
		if p.m != nil && attribute != "" {
			if key, ok := p.m.Attributes[attribute]; ok {
				if i, old := l.keys[key]; old && l.queue[i] != nil {
					l.drop(i, s.address)
				}
				l.keys[key] = len(l.queue)
			}
		}
		l.queue = append(l.queue, p)
		l.bytes += sizeOf(p)
	}
	for i := 0; i < len(l.queue) && (l.bytes > limit || len(l.queue)-i > lagLimit); i++ {
		if l.queue[i] != nil && i < len(l.queue)-1 { // the newest always stays
			l.drop(i, s.address)
		}
	}
	l.compact()
}

func sizeOf(p *parcel) int {
	if p.m == nil {
		return frameOverhead
	}
	return len(p.m.Data) + frameOverhead
}

// drop leaves one parcel out and notes it for the gap.
func (l *lag) drop(i int, a bus.Address) {
	p := l.queue[i]
	l.queue[i] = nil
	l.bytes -= sizeOf(p)
	from, to := bus.Position{}, bus.Position{}
	switch {
	case p.gap != nil:
		from, to = p.gap.From, p.gap.To
	case !p.m.Position.IsZero():
		to = p.m.Position
		from = bus.Position{Epoch: to.Epoch, Offset: to.Offset - 1}
	}
	if !l.lossy || l.skipped.From.IsZero() {
		l.skipped.From = from
	}
	l.skipped.Address, l.skipped.To, l.skipped.Reason = a, to, bus.GapSlow
	l.lossy = true
}

// compact forgets the holes once they are most of the queue.
func (l *lag) compact() {
	if len(l.queue) < 2*lagLimit {
		return
	}
	l.queue = slices.DeleteFunc(l.queue, func(p *parcel) bool { return p == nil })
	clear(l.keys) // older ones are not found any more: two of a key may stay, never none
}

// take returns what is due, a gap first when something was dropped; nil when the subscription is up to date,
// and from then on it is written to again.
func (sh *shard) take(sub *subscription) []*parcel {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sub.lag
	if l == nil || sub.gone {
		return nil
	}
	var due []*parcel
	if l.lossy {
		due = append(due, sh.owner.gapParcel(l.skipped))
	}
	for _, p := range l.queue {
		if p != nil {
			due = append(due, p)
		}
	}
	if len(due) == 0 {
		sub.lag = nil
		return nil
	}
	sub.lag = &lag{keys: make(map[string]int)}
	return due
}

// nextBehind returns a subscription that is behind; nil when there is none, and then nobody catches up.
func (s *session) nextBehind() *subscription {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if len(s.behind) == 0 {
		s.catching, s.behind = false, nil
		return nil
	}
	sub := s.behind[0]
	s.behind = s.behind[1:]
	return sub
}

// catchUp gives a client that has read its backlog what it was not given, at its own pace.
func (s *session) catchUp() {
	defer s.recovered()
	for sub := s.nextBehind(); sub != nil; sub = s.nextBehind() {
		ctx, cancel := context.WithTimeout(context.Background(), replayTimeout)
		err := s.catchUpOn(ctx, sub)
		cancel()
		if err != nil {
			s.refuse(rpc.FromError(err))
			return
		}
	}
}

func (s *session) catchUpOn(ctx context.Context, sub *subscription) error {
	if !sub.holding { // set before s.behind, and changed by this goroutine alone
		for due := s.shard.take(sub); due != nil; due = s.shard.take(sub) {
			if out := s.join(due); len(out) > 0 {
				if err := s.paced(ctx, out); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if sub.owned {
		return s.redeliverAll(ctx, sub)
	}
	return s.replayAll(ctx, sub, s.shard.at(sub))
}

// at is up to where the client of a subscription that holds has had everything.
func (sh *shard) at(sub *subscription) bus.Position {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sub.line.At()
}

// errLeft ends the replay of a subscription that has ended.
var errLeft = errors.New("the subscription has ended")

// isGone says whether the subscription has ended.
func (s *subscription) isGone() bool {
	s.session.shard.mu.Lock()
	defer s.session.shard.mu.Unlock()
	return s.gone
}
