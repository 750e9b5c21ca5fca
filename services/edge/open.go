package edge

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// opening is a session between open and begin.
type opening struct {
	who       *bus.Identity
	asked     time.Time // when the identity was right
	own       []*subscription
	requests  []*request // in the order asked for; nil where refused
	results   []*edgev1.SubscriptionResult
	positions []bus.Position // of own
	lost      []bus.Gap      // of own, since the connection before
}

// open makes the session the identity's: it follows the identity's own addresses and those asked for, holding
// what comes. The identity was right at the time asked. After an error nothing is left.
func (s *session) open(ctx context.Context, who *bus.Identity, asked time.Time, wanted []*edgev1.Subscribe) (*opening, error) {
	if !time.Now().Before(who.Expires) {
		return nil, bus.ErrTokenExpired
	}
	if err := s.authorize(ctx, who, bus.Connect, bus.Address{}); err != nil {
		return nil, err
	}
	s.client = who.Client
	own := s.own(who)
	subs := make([]*subscription, 0, len(own)+len(wanted))
	for _, a := range own {
		subs = append(subs, newSubscription(s, who, a))
	}
	o := &opening{
		who: who, asked: asked, own: subs[:len(own):len(own)],
		results: make([]*edgev1.SubscriptionResult, len(wanted)), requests: make([]*request, len(wanted)),
	}
	for i, w := range wanted {
		req, err := s.request(who, w, subs)
		if err != nil {
			o.results[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Error{Error: rpc.ErrorProto(err)}}
			continue
		}
		o.requests[i] = req
		subs = append(subs, req.sub)
	}
	subs = s.askAll(ctx, who, o.requests, o.results, subs)
	positions, err := s.follow(ctx, who, subs)
	if err != nil {
		return nil, err
	}
	o.positions = positions[:len(own)]
	for _, req := range o.requests {
		if req == nil {
			continue
		}
		req.at = positions[indexOf(subs, req.sub)]
		if err := s.locate(ctx, req, req.at); err != nil {
			s.abandon()
			return nil, err
		}
	}
	if err := s.readLasts(ctx, o.requests); err != nil {
		s.abandon()
		return nil, err
	}
	for i, req := range o.requests {
		if req == nil {
			continue
		}
		o.results[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Subscribed{Subscribed: req.answer(req.at)}}
	}
	return o, nil
}

// own returns the addresses that the identity follows without asking, and that of the dialect's roster.
func (s *session) own(who *bus.Identity) []bus.Address {
	own := who.Own()
	if s.onlyFollow {
		own = nil
	}
	if d, ok := s.dialect().(dialect.Counted); ok {
		own = append(own, d.Roster())
	}
	return own
}

// abandon leaves everything that is followed.
func (s *session) abandon() {
	for len(s.subs) > 0 {
		s.leave(s.subs[len(s.subs)-1])
	}
}

// begin answers a session that was opened, replays, and lets messages through.
func (s *session) begin(id uint32, o *opening) {
	e := s.owner
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.CallTimeout)
	defer cancel()
	s.identity.Store(o.who)
	s.conn.ExpireAt(o.who.Expires)
	if e.revocations.Opened(ctx, standing{s}, o.asked); s.refused.Load() != nil {
		return
	}
	e.behind.Events.Connected(s.id, o.who)
	if s.talk != nil {
		s.talk.Start(ctx)
	} else {
		s.welcome(id, o)
	}
	s.settled() // what is replayed goes at the client's pace
	for _, g := range o.lost {
		s.reply(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: gapProto(g)}})
	}
	for i, sub := range o.own {
		s.letIn(sub, o.positions[i])
	}
	for _, req := range o.requests {
		s.giveLast(req)
	}
	for _, req := range o.requests {
		if req != nil {
			s.start(req, req.at)
		}
	}
}

// welcome answers a connect.
func (s *session) welcome(id uint32, o *opening) {
	e := s.owner
	connected := &edgev1.Connected{
		Connection:     s.id,
		Client:         o.who.Client,
		User:           o.who.User,
		ExpireTime:     timestamppb.New(o.who.Expires),
		PingIntervalMs: uint32(e.cfg.PingInterval.Milliseconds()), //nolint:gosec // checked by validate
		Node:           e.cfg.Node,
		Subscriptions:  o.results,
		Own:            places(o.own, o.positions, true),
	}
	s.ticket(connected, o.who)
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Connected{Connected: connected}})
}

// letIn lets messages of an own address through, after what waits in its inbox.
func (s *session) letIn(sub *subscription, at bus.Position) {
	if sub.owned {
		s.redeliver(sub, at)
		return
	}
	s.start(&request{sub: sub}, at)
}
