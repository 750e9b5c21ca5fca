package edge

import (
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/revoked"
)

// standing is a session as it stands on its token.
type standing struct{ session *session }

var _ revoked.Call = standing{}

// Identity is who the session is now.
func (c standing) Identity() *bus.Identity { return c.session.identity.Load() }

// End ends the session.
func (c standing) End(why *bus.Error) { c.session.refuse(why) }

// standing returns the open sessions whose identity is wanted. Nothing is written while a shard's lock is held.
func (h *hub) standing(wanted func(*bus.Identity) bool) []revoked.Call {
	var all []revoked.Call
	h.sessions(func(s *session) {
		if id := s.identity.Load(); id != nil && wanted(id) {
			all = append(all, standing{s})
		}
	})
	return all
}
