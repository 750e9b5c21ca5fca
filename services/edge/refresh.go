package edge

import (
	"context"
	"slices"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// refresh replaces the token. The new one must be of the same client, user and session. The session follows what it newly
// grants of the identity's own addresses, or everything stays as it was. The session leaves what the token does not grant any
// more. Where the token does not grant presence, the subscription stays without it.
func (s *session) refresh(ctx context.Context, id uint32, old *bus.Identity, req *edgev1.Refresh) error {
	asked := time.Now()
	who, err := s.edge.guard.Tokens.Validate(ctx, req.GetToken())
	if err != nil {
		return err
	}
	if who.DerivedClient && old.DerivedClient && who.User != "" && who.User == old.User {
		same := *who // the connection goes on, and with it the id that was derived for it
		same.Client, who = old.Client, &same
	}
	if who.Client != old.Client || who.User != old.User || who.Session != old.Session {
		s.refuseCommand(id, bus.ErrTokenInvalid.With("refresh.token is of another client, user or session", nil))
		return nil
	}
	f, err := s.follow(ctx, who, s.notFollowed(s.own(who)), nil)
	if err != nil {
		return err
	}
	if !s.become(ctx, who, asked) {
		return nil
	}
	s.leaveLost(who)
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Refreshed{
		Refreshed: &edgev1.Refreshed{ExpireTime: convert.Time(who.Expires), Own: places(f.own, false)},
	}})
	if s.renewable() { // the ticket before is one of the old token
		s.renew(asked, nil)
	}
	s.start(f)
	return nil
}

// notFollowed returns those of the addresses that the session does not follow yet.
func (s *session) notFollowed(own []bus.Address) []bus.Address {
	return slices.DeleteFunc(slices.Clone(own), func(a bus.Address) bool { return s.subscription(a) != nil })
}

// leaveLost leaves what an identity does not grant any more, and tells the client.
func (s *session) leaveLost(who *bus.Identity) {
	for _, sub := range slices.Clone(s.subs) {
		switch {
		case !who.Allows(bus.Subscribe, sub.Address()):
			s.leave(sub)
			s.tellUnsubscribed(0, sub.Address())
		case sub.Watches() && !who.Allows(bus.Presence, sub.Address()):
			sub.Unwatch()
		}
	}
}

// redeem returns the identity of a ticket.
func (s *session) redeem(ctx context.Context, ticket string) (*bus.Identity, error) {
	who, err := s.edge.guard.Redeem(ctx, ticket)
	if err == nil {
		s.edge.metrics.resumed.Inc()
	}
	return who, err
}

// firstTicket adds a ticket to the answer of a connect. Where there is none now, the session is given one later.
func (s *session) firstTicket(c *edgev1.Connected, id *bus.Identity) {
	guard := s.edge.guard
	if guard.Tickets == nil {
		return
	}
	now := time.Now()
	s.renews.Store(guard.Tickets.Renewal(now))
	if !guard.Renewing() {
		return
	}
	if text, end := guard.Tickets.Seal(id, now); text != "" {
		c.Ticket, c.TicketExpireTime = text, convert.Time(end)
	}
}

// renewable says whether the session has tickets, which may be sealed now.
func (s *session) renewable() bool {
	return s.renews.Load() != 0 && s.refused.Load() == nil && s.edge.guard.Renewing()
}

// renew sends the session a new ticket. It may be called with the shard's lock held.
func (s *session) renew(now time.Time, a *wire.Attempt) {
	if f := s.nextTicket(now); len(f) > 0 {
		s.Push(f, a)
	}
}

// nextTicket returns the frame of a new ticket; nil when there is none. The caller knows that the identity is right at
// the time: that no revocation of it can have been missed.
func (s *session) nextTicket(now time.Time) []byte {
	e := s.edge
	s.renews.Store(e.guard.Tickets.Renewal(now))
	text, end := e.guard.Tickets.Seal(s.Identity(), now)
	if text == "" {
		return nil
	}
	e.metrics.renewed.Inc()
	return s.EventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Ticket{Ticket: &edgev1.ResumeTicket{
		Ticket: text, ExpireTime: convert.Time(end),
	}}})
}
