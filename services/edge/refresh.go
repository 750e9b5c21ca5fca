package edge

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// refresh replaces the token. The new one must be of the same client, user and session. What it newly grants of the identity's own
// addresses is followed, or everything stays as it was; what it does not grant any more is left; where it does not grant
// presence, the subscription stays without it.
func (s *session) refresh(ctx context.Context, id uint32, old *bus.Identity, req *edgev1.Refresh) error {
	asked := time.Now()
	who, err := s.owner.tokens.Validate(ctx, req.GetToken())
	if err != nil {
		return err
	}
	if who.Client != old.Client || who.User != old.User || who.Session != old.Session {
		s.refuse(bus.ErrTokenInvalid.With("refresh.token is of another client, user or session", nil))
		return nil
	}
	fresh, positions, err := s.followNew(ctx, who)
	if err != nil {
		return err
	}
	s.identity.Store(who)
	s.conn.ExpireAt(who.Expires)
	if s.owner.revocations.Opened(ctx, standing{s}, asked); s.refused.Load() != nil {
		return nil
	}
	s.leaveLost(who)
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Refreshed{
		Refreshed: &edgev1.Refreshed{ExpireTime: timestamppb.New(who.Expires), Own: places(fresh, positions, false)},
	}})
	if s.renewable() { // the ticket before is one of the old token
		s.renew(asked, nil)
	}
	for i, sub := range fresh {
		s.letIn(sub, positions[i])
	}
	return nil
}

// leaveLost leaves what an identity does not grant any more, and tells the client.
func (s *session) leaveLost(who *bus.Identity) {
	for _, sub := range slices.Clone(s.subs) {
		switch {
		case !who.Allows(bus.Subscribe, sub.address):
			s.leave(sub)
			s.reply(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Unsubscribed{
				Unsubscribed: &publishv1.Unsubscribed{Address: sub.address.String()},
			}})
		case sub.watches && !who.Allows(bus.Presence, sub.address):
			s.shard.unwatch(sub)
		}
	}
}

// redeem returns the identity of a ticket, without a call of the auth service.
func (e *Edge) redeem(ctx context.Context, ticket string) (*bus.Identity, error) {
	id, sealed, err := e.tickets.Open(ticket, time.Now())
	if err != nil {
		return nil, err
	}
	if err := e.revocations.Check(ctx, id, sealed); err != nil {
		return nil, err
	}
	e.metrics.resumed.Inc()
	return id, nil
}

// ticket adds a ticket to the answer of a connect. There is none while a revocation may have been missed: it
// would carry that on to the next edge.
func (s *session) ticket(c *edgev1.Connected, id *bus.Identity) {
	e := s.owner
	if e.tickets == nil {
		return
	}
	now := time.Now()
	s.renews.Store(e.tickets.Renewal(now))
	if !e.revocations.Sure() {
		return
	}
	if text, end := e.tickets.Seal(id, now); text != "" {
		c.Ticket, c.TicketExpireTime = text, timestamppb.New(end)
	}
}

// renewable says whether the session has tickets, which may be sealed now.
func (s *session) renewable() bool {
	return s.owner.tickets != nil && s.renews.Load() != 0 && s.refused.Load() == nil && s.owner.revocations.Sure()
}

// renew sends the session a new ticket. It may be called with the shard's lock held.
func (s *session) renew(now time.Time, a *wire.Attempt) {
	if f := s.nextTicket(now); len(f) > 0 {
		s.push(f, a)
	}
}

// nextTicket returns the frame of a new ticket; nil when there is none. The caller knows that the identity is right at
// the time: that no revocation of it can have been missed.
func (s *session) nextTicket(now time.Time) []byte {
	e := s.owner
	s.renews.Store(e.tickets.Renewal(now))
	text, end := e.tickets.Seal(s.identity.Load(), now)
	if text == "" {
		return nil
	}
	e.metrics.renewed.Inc()
	return s.eventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Ticket{Ticket: &edgev1.ResumeTicket{
		Ticket: text, ExpireTime: timestamppb.New(end),
	}}})
}
