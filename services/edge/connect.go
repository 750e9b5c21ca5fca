package edge

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// connect carries out a connect command.
func (s *session) connect(id uint32, c *edgev1.Connect) {
	if s.Identity() != nil {
		s.replyError(id, bus.ErrAlreadyConnected)
		return
	}
	had, err := s.readConnect(c)
	if err != nil {
		s.Refuse(rpc.FromError(err))
		return
	}
	if err := s.seat.Connect(); err != nil {
		s.refuseConnect(err)
		return
	}
	defer s.seat.Connected()
	asked := time.Now()
	who, err := s.identify(c)
	if err != nil {
		s.refuseConnect(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	o, err := s.open(ctx, who, asked, c.GetSubscriptions())
	if err == nil {
		err = s.findLost(ctx, o, had)
	}
	if err != nil {
		s.Refuse(rpc.FromError(err))
		return
	}
	s.welcome(id, o)
}

// ownLimit is how many positions of own addresses a connect may give back.
const ownLimit = 256

// readConnect checks the fields of a connect, and returns where its client was in its own addresses.
func (s *session) readConnect(c *edgev1.Connect) (map[bus.Address]bus.Position, error) {
	var bad bus.Invalid
	if len(c.GetName()) > 64 {
		bad.Add("connect.name", "has %d bytes, the limit is 64", len(c.GetName()))
	}
	if n := len(c.GetSubscriptions()); n > s.edge.cfg.Subscriptions {
		bad.Add("connect.subscriptions", "has %d entries, the limit is %d", n, s.edge.cfg.Subscriptions)
	}
	if n := len(c.GetOwn()); n > ownLimit {
		bad.Add("connect.own", "has %d entries, the limit is %d", n, ownLimit)
		return nil, bad.Err()
	}
	had := make(map[bus.Address]bus.Position, len(c.GetOwn()))
	for _, o := range c.GetOwn() {
		a := bad.Address("connect.own.address", o.GetAddress())
		if p := o.GetPosition(); p.GetEpoch() != "" {
			had[a] = convert.Position(p)
		}
	}
	return had, bad.Err()
}

// refuseConnect ends a session whose connect is refused.
func (s *session) refuseConnect(err error) {
	e := rpc.FromError(err)
	s.edge.metrics.refuse(e)
	s.Refuse(e)
}

// identify returns who connects, by token or by ticket.
func (s *session) identify(c *edgev1.Connect) (*bus.Identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	switch {
	case c.GetTicket() != "" && c.GetToken() != "":
		var bad bus.Invalid
		bad.Add("connect.ticket", "not together with connect.token")
		return nil, bad.Err()
	case c.GetTicket() != "":
		return s.redeem(ctx, c.GetTicket())
	case c.GetToken() == "":
		return nil, bus.ErrTokenMissing.With("connect.token is empty", nil)
	}
	return s.edge.guard.Tokens.Validate(ctx, c.GetToken())
}

// opening is a session between open and welcome.
type opening struct {
	who      *bus.Identity
	asked    time.Time // when the identity was known to be valid
	followed *followed
	lost     []bus.Gap // of own addresses, since the connection before
}

// open makes the session the identity's: it follows the identity's own addresses and those asked for, holding
// what comes. The identity was valid at the time asked. After an error nothing is left.
func (s *session) open(ctx context.Context, who *bus.Identity, asked time.Time, wanted []*edgev1.Subscribe) (*opening, error) {
	if !time.Now().Before(who.Expires) {
		return nil, bus.ErrTokenExpired
	}
	if err := s.authorize(ctx, who, bus.Connect, bus.Address{}); err != nil {
		return nil, err
	}
	s.Client = who.Client
	f, err := s.follow(ctx, who, s.own(who), wanted)
	if err != nil {
		return nil, err
	}
	return &opening{who: who, asked: asked, followed: f}, nil
}

// own returns the addresses that the identity follows without asking, and that of the dialect's roster.
func (s *session) own(who *bus.Identity) []bus.Address {
	own := who.Own()
	if s.onlyFollow {
		own = nil
	}
	if d, ok := s.Dialect().(dialect.Counted); ok {
		own = append(own, d.Roster())
	}
	return own
}

// findLost finds out what was lost of the own addresses since the client was there. A client follows them without asking, so it
// has no subscription whose position it could give back: it is told where they stand when it connects, and gives that back the
// next time. After an error nothing is followed.
func (s *session) findLost(ctx context.Context, o *opening, had map[bus.Address]bus.Position) error {
	for _, req := range o.followed.own {
		after, ok := had[req.sub.Address()]
		if !ok {
			continue
		}
		gap, err := s.edge.tail.Missing(ctx, req.sub.Address(), req.at, after)
		if err != nil {
			s.abandon()
			return err
		}
		if gap != nil {
			s.edge.hub.CountGap()
			o.lost = append(o.lost, *gap)
		}
	}
	return nil
}

// abandon leaves everything that is followed.
func (s *session) abandon() {
	for len(s.subs) > 0 {
		s.leave(s.subs[len(s.subs)-1])
	}
}

// welcome answers a session that was opened, replays, and lets messages through.
func (s *session) welcome(id uint32, o *opening) {
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	if !s.become(ctx, o.who, o.asked) {
		return
	}
	s.edge.behind.Events.Connected(s.ID, o.who)
	if s.Talk != nil {
		s.Talk.Start(ctx)
	} else {
		s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Connected{Connected: s.connected(o)}})
	}
	s.seat.Connected() // what is replayed goes at the client's pace
	for _, g := range o.lost {
		s.Reply(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: convert.GapProto(g)}})
	}
	s.start(o.followed)
}

// become gives the session an identity that was valid at the time asked. From then on a revocation finds it. It returns false when
// there was one before, which has ended the session.
func (s *session) become(ctx context.Context, who *bus.Identity, asked time.Time) bool {
	s.SetIdentity(who)
	s.Conn.ExpireAt(who.Expires)
	s.edge.guard.Revocations.Opened(ctx, standing{s}, asked)
	return s.refused.Load() == nil
}

// connected is the answer to a connect.
func (s *session) connected(o *opening) *edgev1.Connected {
	c := &edgev1.Connected{
		Connection:     s.ID,
		Client:         o.who.Client,
		User:           o.who.User,
		ExpireTime:     timestamppb.New(o.who.Expires),
		PingIntervalMs: uint32(s.edge.cfg.PingInterval.Milliseconds()), //nolint:gosec // checked by validate
		Node:           s.edge.cfg.Node,
		Subscriptions:  make([]*edgev1.SubscriptionResult, len(o.followed.asked)),
		Own:            places(o.followed.own, true),
	}
	for i, req := range o.followed.asked {
		if req.refuse != nil {
			c.Subscriptions[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Error{Error: rpc.ErrorProto(req.refuse)}}
		} else {
			c.Subscriptions[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Subscribed{Subscribed: req.answer()}}
		}
	}
	s.firstTicket(c, o.who)
	return c
}

// places says where own addresses stand; with kept, only of those where something is kept.
func places(own []*request, kept bool) []*edgev1.OwnAddress {
	var all []*edgev1.OwnAddress
	for _, req := range own {
		if !kept || !req.at.IsZero() {
			all = append(all, &edgev1.OwnAddress{Address: req.sub.Address().String(), Position: convert.PositionProto(req.at)})
		}
	}
	return all
}
