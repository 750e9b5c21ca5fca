package edge

import (
	"cmp"
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// list puts subscriptions into the rosters of addresses that have one.
func (s *session) list(who *bus.Identity, subs []*fan.Subscription) {
	roster := s.edge.behind.Roster
	listed := slices.DeleteFunc(slices.Clone(subs), func(sub *fan.Subscription) bool { return !roster.Lists(sub.Address()) })
	if len(listed) == 0 {
		return
	}
	s.List(listed, s.edge.store.Now(), func(sub *fan.Subscription) {
		roster.Count(sub.Address())
		roster.Join(sub.Address(), s.member(sub, who))
	})
}

// member is a subscription in a roster.
func (s *session) member(sub *fan.Subscription, who *bus.Identity) bus.Member {
	m := bus.Member{Connection: s.ID, Client: who.Client, User: who.User, Joined: time.UnixMilli(sub.Listed())}
	if s.single { // each comes and goes by itself, and the id that it goes by stands where the user does
		m.Client, m.User = m.Connection, who.Client
	}
	return m
}

// unlist takes the connection out of the roster of an address: at once, unless it was lost at a time and may come back. The clients of
// older protocols do not come back as the same one.
func (s *session) unlist(a bus.Address, lost time.Time) {
	if who := s.Identity(); who != nil && s.Talk == nil && lost.IsZero() {
		s.edge.behind.Roster.LeaveAgain(a, s.ID, cmp.Or(who.User, who.Client))
		return
	}
	s.edge.behind.Roster.Leave(a, s.ID, lost)
}
