package edge

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// sweepInterval is how often a shard looks at its sessions; it stands in for three timers a connection.
const sweepInterval = time.Second

// sweep ends sessions that did not connect in time, whose token has expired or that answer no ping, pings the
// others, and gives those their next ticket that are due.
func (sh *shard) sweep(now time.Time) {
	renewing := sh.owner.tickets != nil && sh.owner.revocations.Sure()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	tickets := 0
	if renewing {
		tickets = sh.owner.tickets.Renewals(len(sh.sessions), sweepInterval)
	}
	unix := now.Unix()
	connectWithin := uint32(sh.owner.cfg.ConnectTimeout / time.Second) //nolint:gosec // checked by Validate
	pingEvery := uint32(sh.owner.cfg.PingInterval / time.Second)       //nolint:gosec // checked by Validate
	for _, s := range sh.sessions {
		s.age++
		if s.talk != nil {
			s.tick(now, sh.attempt)
		}
		switch {
		case s.identity.Load() == nil:
			if s.age > connectWithin {
				s.refuse(bus.ErrConnectTimeout)
			}
		case s.conn.Expired(now.UnixMilli()):
			s.refuse(bus.ErrTokenExpired)
		case s.age >= pingEvery:
			s.age = 0
			if !s.conn.Heard() {
				s.refuse(bus.ErrIdleTimeout)
				continue
			}
			if s.conn.Idle() {
				s.push(wire.PingFrame, sh.attempt)
			}
		case tickets > 0 && s.due(unix) && s.conn.Idle():
			tickets--
			s.renew(now, sh.attempt)
		}
	}
}

// due says whether the session's next ticket is due.
func (s *session) due(unix int64) bool {
	at := s.renews.Load()
	return at != 0 && unix >= at && s.refused.Load() == nil
}
