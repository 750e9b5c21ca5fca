package publish

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Consume follows one address.
func (s *Server) Consume(req *publishv1.ConsumeRequest, stream grpc.ServerStreamingServer[publishv1.ConsumeResponse]) error {
	send := func(r *publishv1.ConsumeResponse) error { return stream.Send(r) }
	ctx := stream.Context()
	r := s.newReader(ctx, rpc.CallerFrom(ctx), output{
		message: func(m *publishv1.Message) error {
			return send(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Message{Message: m}})
		},
		gap: func(g *publishv1.Gap) error {
			return send(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Gap{Gap: g}})
		},
		subscribed: func(p *publishv1.Subscribed) error {
			return send(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Subscribed{Subscribed: p}})
		},
		dismissed: func(d *publishv1.Dismissed) error {
			return send(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Dismissed{Dismissed: d}})
		},
		presence: func(e *publishv1.PresenceEvent) error {
			return send(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_PresenceEvent{PresenceEvent: e}})
		},
		ended: func(a bus.Address) error {
			return bus.ErrChannelNotFound.With("the channel was deleted", map[string]string{"address": a.String()})
		},
	})
	defer r.stopAll()
	if err := r.start(ctx, req); err != nil {
		return err
	}
	return r.serve(ctx, nil, nil)
}

// serve sends what arrives until the stream or the server ends; the stream ends with the token. Commands, if any, are carried
// out in between, so that everything the stream does is done by one goroutine.
func (r *reader) serve(ctx context.Context, commands <-chan command, do func(*publishv1.SubscribeRequest) error) error {
	for {
		if err := r.flush(ctx); err != nil {
			return err
		}
		select {
		case <-r.wake:
		case c := <-commands:
			if errors.Is(c.err, io.EOF) {
				return nil // the client is done
			}
			if c.err != nil {
				return c.err
			}
			if err := do(c.req); err != nil {
				return err
			}
		case <-r.server.streams.draining:
			return bus.ErrDraining
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Subscribe follows addresses that come and go by command.
func (s *Server) Subscribe(stream grpc.BidiStreamingServer[publishv1.SubscribeRequest, publishv1.SubscribeResponse]) error {
	ctx := stream.Context()
	var sequence uint64 // of the command that is being carried out
	send := func(r *publishv1.SubscribeResponse) error { return stream.Send(r) }
	r := s.newReader(ctx, rpc.CallerFrom(ctx), output{
		message: func(m *publishv1.Message) error {
			return send(&publishv1.SubscribeResponse{Event: &publishv1.SubscribeResponse_Message{Message: m}})
		},
		gap: func(g *publishv1.Gap) error {
			return send(&publishv1.SubscribeResponse{Event: &publishv1.SubscribeResponse_Gap{Gap: g}})
		},
		subscribed: func(p *publishv1.Subscribed) error {
			return send(&publishv1.SubscribeResponse{Sequence: sequence, Event: &publishv1.SubscribeResponse_Subscribed{Subscribed: p}})
		},
		dismissed: func(d *publishv1.Dismissed) error {
			return send(&publishv1.SubscribeResponse{Event: &publishv1.SubscribeResponse_Dismissed{Dismissed: d}})
		},
		presence: func(e *publishv1.PresenceEvent) error {
			return send(&publishv1.SubscribeResponse{Event: &publishv1.SubscribeResponse_PresenceEvent{PresenceEvent: e}})
		},
		ended: func(a bus.Address) error {
			return send(&publishv1.SubscribeResponse{Event: &publishv1.SubscribeResponse_Unsubscribed{
				Unsubscribed: &publishv1.Unsubscribed{Address: a.String()},
			}})
		},
	})
	defer r.stopAll()
	if err := stream.SendHeader(nil); err != nil { // the client sees at once that the stream is open
		return err
	}
	commands := make(chan command)
	// The reader ends when this handler has returned: only then is a waiting Recv given up.
	if !s.streams.spawn(func() { readCommands(stream, commands) }) {
		return bus.ErrDraining
	}
	return r.serve(ctx, commands, func(c *publishv1.SubscribeRequest) error {
		sequence = c.GetSequence()
		if err := r.do(ctx, send, c); err != nil {
			return send(&publishv1.SubscribeResponse{Sequence: sequence, Event: &publishv1.SubscribeResponse_Error{Error: rpc.ErrorProto(err)}})
		}
		return nil
	})
}

// command is one command of a stream, or how the stream ended.
type command struct {
	req *publishv1.SubscribeRequest
	err error
}

func readCommands(stream grpc.BidiStreamingServer[publishv1.SubscribeRequest, publishv1.SubscribeResponse], commands chan<- command) {
	for {
		req, err := stream.Recv()
		select {
		case commands <- command{req, err}:
		case <-stream.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// do carries out one command. A refusal ends the command, not the stream.
func (r *reader) do(ctx context.Context, send func(*publishv1.SubscribeResponse) error, c *publishv1.SubscribeRequest) error {
	switch command := c.GetCommand().(type) {
	case *publishv1.SubscribeRequest_Subscribe:
		return r.start(ctx, command.Subscribe)
	case *publishv1.SubscribeRequest_Unsubscribe:
		a, err := bus.AddressIn("address", command.Unsubscribe.GetAddress())
		if err != nil {
			return err
		}
		if !r.stop(a) {
			return bus.ErrFieldInvalid.With("address "+a.String()+" is not followed", map[string]string{"address": a.String()})
		}
		return send(&publishv1.SubscribeResponse{Sequence: c.GetSequence(), Event: &publishv1.SubscribeResponse_Unsubscribed{
			Unsubscribed: &publishv1.Unsubscribed{Address: a.String()},
		}})
	case *publishv1.SubscribeRequest_Ack:
		answer, err := r.server.AckMessages(ctx, command.Ack)
		if err != nil {
			return err
		}
		return send(&publishv1.SubscribeResponse{Sequence: c.GetSequence(), Event: &publishv1.SubscribeResponse_Acked{Acked: answer}})
	}
	return bus.ErrProtocol.With("the command is unset; it is one of subscribe, unsubscribe, ack", nil)
}
