package edge

import (
	"slices"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// A channel that is deleted ends its subscriptions. The shard that hears of it ends them, and their sessions, whose lists
// belong to other goroutines, forget them with their next command.

// deletes says whether the parcel tells the end of the channel.
func (p *parcel) deletes() bool { return p.m != nil && p.m.Kind == bus.MessageDeleted }

// endAll ends the subscriptions of a group. One that still learns its position ends when it is let in, so that its
// client hears of its beginning first. The caller holds the lock.
func (sh *shard) endAll(g *group) {
	for _, sub := range slices.Clone(g.subs) {
		if sub.holding && sub.lag == nil {
			sub.ended = true
		} else {
			sh.end(sub)
		}
	}
}

// end ends one subscription and tells its client. The caller holds the lock.
func (sh *shard) end(sub *subscription) {
	sh.drop(sub)
	s := sub.session
	s.stale.Store(true)
	sh.owner.tail.Release(sub.address)
	sh.owner.behind.Roster.Leave(sub.address, s.id, time.Time{})
	b := s.eventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Unsubscribed{
		Unsubscribed: &publishv1.Unsubscribed{Address: sub.address.String()},
	}})
	if len(b) > 0 {
		s.push(b, sh.attempt)
	}
}

// forgetEnded removes from the session's list what was ended since it was asked last.
func (s *session) forgetEnded() {
	if !s.stale.Swap(false) {
		return
	}
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	s.subs = slices.DeleteFunc(s.subs, func(sub *subscription) bool { return sub.gone })
}
