package edge

import (
	"context"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// do carries out a command and answers it.
func (s *session) do(f *edgev1.ClientFrame) {
	id := f.GetId()
	if c, ok := f.GetCommand().(*edgev1.ClientFrame_Connect); ok {
		s.connect(id, c.Connect)
		return
	}
	who := s.identity.Load()
	if who == nil {
		s.refuse(bus.ErrNotConnected)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.owner.cfg.CallTimeout)
	defer cancel()
	var err error
	switch c := f.GetCommand().(type) {
	case *edgev1.ClientFrame_Subscribe:
		err = s.subscribe(ctx, id, who, c.Subscribe)
	case *edgev1.ClientFrame_Unsubscribe:
		err = s.unsubscribe(id, c.Unsubscribe)
	case *edgev1.ClientFrame_Publish:
		err = s.publish(ctx, id, who, c.Publish)
	case *edgev1.ClientFrame_History:
		err = s.history(ctx, id, who, c.History)
	case *edgev1.ClientFrame_Presence:
		err = s.presence(ctx, id, who, c.Presence)
	case *edgev1.ClientFrame_Refresh:
		err = s.refresh(ctx, id, who, c.Refresh)
	case *edgev1.ClientFrame_Ack:
		err = s.ack(id, who, c.Ack)
	case *edgev1.ClientFrame_Ping:
		s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Pong{Pong: &edgev1.Pong{}}})
	default:
		err = bus.ErrProtocol.With("the frame has no command; it is one of connect, subscribe, unsubscribe, publish, history, presence, refresh, ping, ack", nil)
	}
	if err != nil {
		e := rpc.FromError(err)
		s.owner.metrics.refuse(e)
		s.replyError(id, e)
	}
}

func (s *session) connect(id uint32, c *edgev1.Connect) {
	if s.identity.Load() != nil {
		s.replyError(id, bus.ErrAlreadyConnected)
		return
	}
	var bad bus.Invalid
	if len(c.GetName()) > 64 {
		bad.Add("connect.name", "has %d bytes, the limit is 64", len(c.GetName()))
	}
	if n := len(c.GetSubscriptions()); n > s.owner.cfg.Subscriptions {
		bad.Add("connect.subscriptions", "has %d entries, the limit is %d", n, s.owner.cfg.Subscriptions)
	}
	had := hadOwn(c, &bad)
	if err := bad.Err(); err != nil {
		s.refuse(rpc.FromError(err))
		return
	}
	if err := s.owner.admission.Enter(); err != nil {
		s.turnAway(err)
		return
	}
	s.counted = true
	defer s.settled()
	asked := time.Now()
	who, err := s.identify(c)
	if err != nil {
		s.turnAway(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.owner.cfg.CallTimeout)
	defer cancel()
	o, err := s.open(ctx, who, asked, c.GetSubscriptions())
	if err == nil {
		err = s.findLost(ctx, o, had)
	}
	if err != nil {
		s.refuse(rpc.FromError(err))
		return
	}
	s.begin(id, o)
}

// turnAway ends a session whose connect is refused.
func (s *session) turnAway(err error) {
	e := rpc.FromError(err)
	s.owner.metrics.refuse(e)
	s.refuse(e)
}

// identify returns who connects, by token or by ticket.
func (s *session) identify(c *edgev1.Connect) (*bus.Identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.owner.cfg.CallTimeout)
	defer cancel()
	switch {
	case c.GetTicket() != "" && c.GetToken() != "":
		var bad bus.Invalid
		bad.Add("connect.ticket", "not together with connect.token")
		return nil, bad.Err()
	case c.GetTicket() != "":
		return s.owner.redeem(ctx, c.GetTicket())
	case c.GetToken() == "":
		return nil, bus.ErrTokenMissing.With("connect.token is empty", nil)
	}
	return s.owner.tokens.Validate(ctx, c.GetToken())
}

func (s *session) publish(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.PublishRequest) error {
	resp, err := s.owner.writer.send(ctx, who, s.id, req)
	if err != nil {
		return err
	}
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Published{Published: resp}})
	return nil
}

func (s *session) history(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.ListMessagesRequest) error {
	if err := checkAddress(who, bus.History, req.GetAddress()); err != nil {
		return err
	}
	req.ForClient = who.Client
	resp, err := s.owner.channels.ListMessages(ctx, req)
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_History{History: resp}})
	return nil
}

func (s *session) presence(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.ListMembersRequest) error {
	if err := checkAddress(who, bus.Presence, req.GetAddress()); err != nil {
		return err
	}
	resp, err := s.owner.channels.ListMembers(ctx, req)
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Presence{Presence: resp}})
	return nil
}

// ack carries out an ack command. It is answered when the store has it, and only when it has an id.
func (s *session) ack(id uint32, who *bus.Identity, req *publishv1.AckMessagesRequest) error {
	var bad bus.Invalid
	a := bad.Address("ack.address", req.GetAddress())
	if req.GetClient() != "" && req.GetClient() != who.Client {
		bad.Add("ack.client", "is set by the server from the token; leave it out")
	}
	rpc.CheckAcks(&bad, req)
	if err := bad.Err(); err != nil {
		return err
	}
	if !a.HasInbox() || !who.Owns(a) {
		return bus.ErrPermissionDenied.With("messages to "+a.String()+" are not this client's to acknowledge", map[string]string{"address": a.String()})
	}
	list := make([]bus.Ack, len(req.GetIds()))
	for i, message := range req.GetIds() {
		list[i] = bus.Ack{To: a, ID: message, Device: who.Client, Connection: s.id}
	}
	return s.owner.behind.Acks.Ack(s.id, list, func(errs []error) {
		if id == 0 {
			return
		}
		for _, err := range errs {
			if e := rpc.FromError(err); e != nil && e.RetryAfter > 0 { // as a whole: the client tries all again
				s.replyError(id, e)
				return
			}
		}
		s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Acked{Acked: rpc.AckAnswer(list, errs)}})
	})
}

func checkAddress(who *bus.Identity, action bus.Action, address string) error {
	a, err := bus.ParseAddress(address)
	if err != nil {
		return err
	}
	return who.Check(action, a)
}
