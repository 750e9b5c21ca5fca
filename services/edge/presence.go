package edge

import (
	"slices"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// watch counts the subscriptions of an address that are told who comes and goes.
func (h *hub) watch(sub *subscription, n int) {
	if !sub.watches {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watched[sub.address] += n; h.watched[sub.address] <= 0 {
		delete(h.watched, sub.address)
	}
}

// unwatch ends what a subscription is told about who comes and goes, also what is on its way to it.
func (sh *shard) unwatch(sub *subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.hub.watch(sub, -1)
	sub.watches = false
	sub.held = slices.DeleteFunc(sub.held, (*parcel).presence)
	if sub.lag == nil {
		return
	}
	for i, p := range sub.lag.queue {
		if p != nil && p.presence() {
			sub.lag.queue[i] = nil
			sub.lag.bytes -= sizeOf(p)
		}
	}
}

// watches says whether anybody here is told who comes to an address and who goes.
func (h *hub) watches(a bus.Address) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.watched[a] > 0
}

// wanted leaves out who comes and goes when the subscription did not ask for it, and marks that it does not wait for.
func (s *subscription) wanted(due []*parcel) []*parcel {
	unwanted := func(p *parcel) bool { return p.presence() && !s.watches || p.mark() && !s.holding }
	if slices.ContainsFunc(due, unwanted) {
		return slices.DeleteFunc(slices.Clone(due), unwanted)
	}
	return due
}

func (p *parcel) presence() bool { return p.m != nil && p.m.Kind == bus.MessagePresence }

// presenceEvent says who came or went; an event without one for what is none.
func presenceEvent(m *bus.Message) *edgev1.ServerFrame {
	e := rpc.PresenceEvent(m)
	if e == nil {
		return &edgev1.ServerFrame{}
	}
	return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_PresenceEvent{PresenceEvent: e}}
}

// lost returns when the session's connection was lost, if it ended in a way after which its client is likely to come
// back: the connection broke, or the close code asks for it. It is zero for one that left or was sent away.
func (s *session) lost(err error) time.Time {
	now := time.Now()
	if s.talk != nil {
		return time.Time{} // older protocols know no return
	}
	if e := s.refused.Load(); e != nil {
		code := dialect.CloseCode(e)
		switch {
		case code < 4500 || code >= 4600:
			return time.Time{}
		case e.Reason == bus.ErrIdleTimeout.Reason:
			return now.Add(-s.owner.cfg.PingInterval) // nothing was heard of it for as long
		}
		return now
	}
	if wire.Left(err) {
		return time.Time{}
	}
	return now
}

// hasten cuts the wait for the answer to a close frame short where the client is not expected to answer, because
// until then others are told that it is there.
func (s *session) hasten(e *bus.Error) {
	switch e.Reason {
	case bus.ErrTokenRevoked.Reason, bus.ErrTokenExpired.Reason, bus.ErrIdleTimeout.Reason:
		_ = s.conn.SetReadDeadline(time.Now().Add(sentAwayWait)) // the last frames are waited for after that
	}
}

// sentAwayWait is how long such a client has.
const sentAwayWait = 500 * time.Millisecond

// list puts subscriptions into the roster. From here on a relist finds them.
func (sh *shard) list(who *bus.Identity, subs []*subscription, now time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, sub := range subs {
		if !sh.owner.behind.Roster.Lists(sub.address) {
			continue
		}
		sub.listed = now.UnixMilli()
		sh.owner.behind.Roster.Count(sub.address)
		sh.owner.behind.Roster.Join(sub.address, sub.member(who))
	}
}

// member is the subscription in a roster.
func (s *subscription) member(who *bus.Identity) bus.Member {
	m := bus.Member{Connection: s.session.id, Client: who.Client, User: who.User, Joined: time.UnixMilli(s.listed)}
	if s.session.single {
		m.Client = m.Connection
	}
	return m
}

// relist joins again who is subscribed to an address. A leave comes after detach, so it cannot be overtaken.
func (h *hub) relist(a bus.Address) {
	for _, sh := range h.shards {
		sh.mu.Lock()
		if g := sh.groups[a]; g != nil {
			for _, sub := range g.subs {
				if who := sub.session.identity.Load(); who != nil && sub.listed > 0 {
					sh.owner.behind.Roster.Join(sub.address, sub.member(who))
				}
			}
		}
		sh.mu.Unlock()
	}
}
