package edge

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// sweepInterval is how often a shard looks at its sessions; it stands in for three timers a connection.
const sweepInterval = time.Second

// sweep ends sessions that did not connect in time, whose token has expired or that answer no ping, and
// pings the others.
func (sh *shard) sweep(now time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	unix := now.Unix()
	connectWithin := uint32(sh.owner.cfg.ConnectTimeout / time.Second) //nolint:gosec // checked by Validate
	pingEvery := uint32(sh.owner.cfg.PingInterval / time.Second)       //nolint:gosec // checked by Validate
	for _, s := range sh.sessions {
		s.age++
		if s.talk != nil {
			s.tick(now, sh.attempt)
		}
		expires := s.expires.Load()
		switch {
		case expires == 0:
			if s.age > connectWithin {
				s.refuse(bus.ErrConnectTimeout)
			}
		case unix >= expires:
			s.refuse(bus.ErrTokenExpired)
		case s.age >= pingEvery:
			s.age = 0
			if !s.heard.Swap(false) {
				s.refuse(bus.ErrIdleTimeout)
				continue
			}
			if s.idle() {
				s.push(pingFrame, sh.attempt)
			}
		}
	}
}
