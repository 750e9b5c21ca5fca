package edge

import (
	"context"

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
	who := s.Identity()
	if who == nil {
		s.refuseCommand(id, bus.ErrNotConnected)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
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
		s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Pong{Pong: &edgev1.Pong{}}})
	default:
		err = bus.ErrProtocol.With("the frame has no command; it is one of connect, subscribe, unsubscribe, publish, history, presence, refresh, ping, ack", nil)
	}
	if err != nil {
		e := rpc.FromError(err)
		s.edge.metrics.refuse(e)
		s.replyError(id, e)
	}
}

func (s *session) publish(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.PublishRequest) error {
	resp, err := s.edge.writer.send(ctx, s.placed(who), s.ID, req)
	if err != nil {
		return err
	}
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Published{Published: resp}})
	return nil
}

func (s *session) history(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.ListMessagesRequest) error {
	a, err := checkAddress(who, bus.History, req.GetAddress())
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, who, bus.Subscribe, a); err != nil {
		return err
	}
	req.ForClient = who.Client
	resp, err := s.edge.channels.ListMessages(ctx, req)
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_History{History: resp}})
	return nil
}

func (s *session) presence(ctx context.Context, id uint32, who *bus.Identity, req *publishv1.ListMembersRequest) error {
	if _, err := checkAddress(who, bus.Presence, req.GetAddress()); err != nil {
		return err
	}
	resp, err := s.edge.channels.ListMembers(ctx, req)
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Presence{Presence: resp}})
	return nil
}

// ack carries out an ack command. It is answered when the store has it, and only when it has an id.
func (s *session) ack(id uint32, who *bus.Identity, req *publishv1.AckMessagesRequest) error {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
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
		list[i] = bus.Ack{To: a, ID: message, Device: who.Client, Connection: s.ID}
	}
	return s.edge.behind.Acks.Ack(s.ID, list, func(errs []error) {
		if id == 0 {
			return
		}
		for _, err := range errs {
			if e := rpc.FromError(err); e != nil && e.RetryAfter > 0 { // as a whole: the client tries all again
				s.replyError(id, e)
				return
			}
		}
		s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Acked{Acked: rpc.AckAnswer(list, errs)}})
	})
}

func checkAddress(who *bus.Identity, action bus.Action, address string) (bus.Address, error) {
	a, err := bus.AddressIn("address", address)
	if err != nil {
		return a, err
	}
	return a, who.Check(action, a)
}

// writer hands on what clients write. The publish service takes the edge's word for their identity and asks no authorizer.
// So every address that a request is going to write to passes the door here, for the client. Nothing else of the edge has
// these services.
type writer struct {
	door    *bus.Door
	publish publishv1.PublishServiceClient
	states  publishv1.StateServiceClient
}

// send publishes for a client, from the connection.
func (w *writer) send(ctx context.Context, who bus.Placed, connection string, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	targets, err := targetsOf(req)
	if err != nil {
		return nil, err
	}
	if err := w.door.May(ctx, who, targets...); err != nil {
		return nil, err
	}
	req.Sender = &publishv1.Sender{Client: who.Client, User: who.User}
	req.ExcludeConnection = ""
	if req.GetExcludeSender() {
		req.ExcludeConnection = connection
	}
	resp, err := w.publish.Publish(rpc.WithPeer(ctx, who.Peer), req)
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp, nil
}

// targetsOf returns every address that a request is going to write to, now or later.
func targetsOf(req *publishv1.PublishRequest) ([]bus.Address, error) {
	to, err := bus.AddressIn("to", req.GetTo())
	if err != nil {
		return nil, err
	}
	targets := []bus.Address{to}
	if name := req.GetAck().GetDeadLetter(); name != "" {
		var bad bus.Invalid
		targets = append(targets, bad.Address("ack.dead_letter", name))
		if err := bad.Err(); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// state reads a state for a client.
func (w *writer) state(ctx context.Context, who *bus.Identity, a bus.Address) (*publishv1.State, error) {
	if err := who.Check(bus.History, a); err != nil {
		return nil, err
	}
	resp, err := w.states.GetState(rpc.WithPeer(ctx, who.Peer), &publishv1.GetStateRequest{Address: a.String()})
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp.GetState(), nil
}

// updateState changes a state for a client.
func (w *writer) updateState(ctx context.Context, who bus.Placed, req *publishv1.UpdateStateRequest) (*publishv1.State, error) {
	a, err := bus.AddressIn("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := w.door.May(ctx, who, a); err != nil {
		return nil, err
	}
	req.Sender = &publishv1.Sender{Client: who.Client, User: who.User}
	resp, err := w.states.UpdateState(rpc.WithPeer(ctx, who.Peer), req)
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp.GetState(), nil
}
