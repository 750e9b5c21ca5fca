package edge

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/fan"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// sweep ends sessions that did not connect in time, whose token has expired or that answer no ping. It pings the others, and
// gives a session its next ticket when that is due.
func (e *Edge) sweep(now time.Time, sh *fan.Shard) {
	renewing := e.guard.Renewing() // asked before the shard is locked
	sh.Each(func(all []*fan.Subscriber, a *wire.Attempt) {
		tickets := 0
		if renewing {
			tickets = e.guard.Tickets.Renewals(len(all), fan.TickInterval)
		}
		for _, sub := range all {
			s := sessionOf(sub)
			s.age++
			s.Conn.Second()
			if s.Talk != nil {
				s.tick(now, a)
			}
			if s.overdue(now) {
				continue
			}
			switch {
			case s.age >= seconds(e.cfg.PingInterval):
				s.ping(a)
			case tickets > 0 && s.due(now.Unix()) && s.Conn.Idle():
				tickets--
				s.renew(now, a)
			}
		}
	})
}

// seconds is a duration of the configuration in whole seconds.
func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// overdue ends a session that has not connected in time, or whose token has ended. It returns true for all that have not connected.
func (s *session) overdue(now time.Time) bool {
	switch {
	case s.Identity() == nil:
		if s.age > seconds(s.edge.cfg.ConnectTimeout) {
			s.Refuse(bus.ErrConnectTimeout)
		}
	case s.Conn.Expired(now.UnixMilli()):
		s.Refuse(bus.ErrTokenExpired)
	case s.Conn.Unfinished(now) > s.edge.cfg.MessageTimeout:
		s.Refuse(bus.ErrIdleTimeout.With("a message was begun and not ended in time", map[string]string{"rule": "edge.message_timeout"}))
	default:
		return false
	}
	return true
}

// ping pings a client, or ends its session when nothing has come since the last ping.
func (s *session) ping(a *wire.Attempt) {
	s.age = 0
	if !s.Conn.Heard() {
		s.Refuse(bus.ErrIdleTimeout)
		return
	}
	if s.Conn.Idle() { // a backlog is being written, which shows as well as a pong whether the client is there
		s.Push(wire.PingFrame, a)
	}
}

// tick sends what a conversation has to say by the clock. The caller holds the shard's lock.
func (s *session) tick(now time.Time, a *wire.Attempt) {
	if text := s.Talk.Tick(now); text != nil && s.Identity() != nil {
		s.Push(wire.Frame(byte(dialect.Text), len(text), func(dst []byte) []byte { return append(dst, text...) }), a)
	}
}

// due says whether the session's next ticket is due.
func (s *session) due(unix int64) bool {
	at := s.renews.Load()
	return at != 0 && unix >= at && s.refused.Load() == nil
}

const (
	// trimEvery is how often the number of connections is looked at.
	trimEvery = 2 * time.Second
	// trimGrowth is how many new connections leave enough garbage behind to collect it.
	trimGrowth = 1000
)

// trimHeap gives memory back after a storm of connects. Handshakes, tokens and first commands leave several times what a
// connection keeps. An idle process would hold that until the next forced collection, minutes later. So trimHeap collects once,
// when trimGrowth connections came and none has come for a while.
func (e *Edge) trimHeap(ctx context.Context) error {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	var trimmed, last uint64 // connections ever accepted
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := e.hub.Ever()
		if now == last && now-trimmed >= trimGrowth {
			debug.FreeOSMemory()
			trimmed = now
		}
		last = now
	}
}
