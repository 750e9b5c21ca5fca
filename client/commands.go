package client

import (
	"context"
	"errors"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/names"
)

// do sends a command and returns its answer; an *Error when it is refused, ErrLost when the connection went first.
func (c *Client) do(ctx context.Context, f *edgev1.ClientFrame, then func(*edgev1.ServerFrame)) (*edgev1.ServerFrame, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	s, err := c.await(ctx)
	if err != nil {
		return nil, err
	}
	return s.do(ctx, f, then)
}

func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

func (s *session) do(ctx context.Context, f *edgev1.ClientFrame, then func(*edgev1.ServerFrame)) (*edgev1.ServerFrame, error) {
	p, ok := s.post(f, then)
	if !ok {
		return nil, ErrLost
	}
	select {
	case answer, ok := <-p.answer:
		if !ok {
			return nil, s.lost()
		}
		if e := answer.GetError(); e != nil {
			return nil, refused(e)
		}
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lost is ErrLost, or the refusal that ended the connection for good.
func (s *session) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if permanent(s.err) {
		return s.err
	}
	return ErrLost
}

// handle takes one frame, in the reader.
func (c *Client) handle(s *session, f *edgev1.ServerFrame) {
	if f.GetId() != 0 {
		s.mu.Lock()
		p := s.pending[f.GetId()]
		delete(s.pending, f.GetId())
		s.mu.Unlock()
		if p != nil {
			if p.then != nil {
				p.then(f)
			}
			p.answer <- f
		}
		return
	}
	switch e := f.GetEvent().(type) {
	case *edgev1.ServerFrame_Message:
		c.received(e.Message)
	case *edgev1.ServerFrame_Dismissed:
		if c.cfg.OnDismissed != nil {
			c.cfg.OnDismissed(e.Dismissed)
		}
	case *edgev1.ServerFrame_Ticket:
		c.keepTicket(e.Ticket.GetTicket(), e.Ticket.GetExpireTime())
	case *edgev1.ServerFrame_PresenceEvent:
		if c.cfg.OnPresence != nil {
			c.cfg.OnPresence(e.PresenceEvent)
		}
	case *edgev1.ServerFrame_Gap:
		c.jump(e.Gap)
		if c.cfg.OnGap != nil {
			c.cfg.OnGap(e.Gap)
		}
	case *edgev1.ServerFrame_Unsubscribed:
		c.forget(e.Unsubscribed.GetAddress())
		if c.cfg.OnUnsubscribed != nil {
			c.cfg.OnUnsubscribed(e.Unsubscribed.GetAddress(), nil)
		}
	}
}

// received hands a new message on, and acknowledges it.
func (c *Client) received(m *publishv1.Message) {
	if !c.advance(m) {
		return
	}
	if c.cfg.OnMessage != nil {
		c.cfg.OnMessage(m)
	}
	if m.GetAckRequired() && !c.cfg.ManualAck {
		c.Ack(m)
	}
}

// Subscription asks for an address.
type Subscription struct {
	Address string
	// After replays what came after this position first.
	After *publishv1.Position
	// FromBeginning replays everything that is kept first. Not together with After.
	FromBeginning bool
	// Presence tells OnPresence who comes and who leaves; the token must grant presence. When a later token does not grant it
	// any more, the subscription goes on without it. Events are live: after a reconnect or a gap, ask Presence.
	Presence bool
	// FromLast gives the last message that is retained first, marked as redelivered. Not together with the others.
	FromLast bool
}

// Subscribe follows an address until Unsubscribe, over reconnects too. It waits for the session.
func (c *Client) Subscribe(ctx context.Context, want Subscription) (*publishv1.Subscribed, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	want.Address = names.Address(want.Address) // as messages will say it
	for {
		sub := &subscription{address: want.Address, presence: want.Presence}
		frame := &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Subscribe{Subscribe: &edgev1.Subscribe{
			Address: want.Address, After: want.After, FromBeginning: want.FromBeginning, FromLast: want.FromLast, Presence: want.Presence,
		}}}
		f, err := c.do(ctx, frame, func(f *edgev1.ServerFrame) {
			if s := f.GetSubscribed(); s != nil {
				sub.moved(s.GetPosition())
				c.add(sub)
			}
		})
		if errors.Is(err, ErrLost) {
			continue // it is waited for the next session, or for ctx
		}
		return f.GetSubscribed(), err
	}
}

// Unsubscribe follows an address no more.
func (c *Client) Unsubscribe(ctx context.Context, address string) error {
	address = names.Address(address)
	c.forget(address)
	_, err := c.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Unsubscribe{
		Unsubscribe: &edgev1.Unsubscribe{Address: address},
	}}, nil)
	if errors.Is(err, ErrLost) {
		return nil // the next session does not ask for it
	}
	return err
}

// Publish sends a message. A request with an idempotency key is repeated when the connection is lost
// before the answer; without one that is ErrLost.
func (c *Client) Publish(ctx context.Context, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	for {
		f, err := c.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Publish{Publish: req}}, nil)
		if errors.Is(err, ErrLost) && req.GetIdempotencyKey() != "" {
			continue
		}
		return f.GetPublished(), err
	}
}

// History reads what an address has kept.
func (c *Client) History(ctx context.Context, req *publishv1.ListMessagesRequest) (*publishv1.ListMessagesResponse, error) {
	f, err := c.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_History{History: req}}, nil)
	return f.GetHistory(), err
}

// Presence lists who is subscribed to an address.
func (c *Client) Presence(ctx context.Context, req *publishv1.ListMembersRequest) (*publishv1.ListMembersResponse, error) {
	f, err := c.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Presence{Presence: req}}, nil)
	return f.GetPresence(), err
}

// Ping asks for a pong.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Ping{Ping: &edgev1.Ping{}}}, nil)
	return err
}

// Refresh replaces the token of the open session; it must be of the same client, user and session.
func (c *Client) Refresh(ctx context.Context, token string) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	s, err := c.await(ctx)
	if err != nil {
		return err
	}
	return c.refreshOn(ctx, s, token)
}

func (c *Client) refreshOn(ctx context.Context, s *session, token string) error {
	f, err := s.do(ctx, &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Refresh{Refresh: &edgev1.Refresh{Token: token}}}, nil)
	if err != nil {
		return err
	}
	c.stand(f.GetRefreshed().GetOwn(), false)
	select {
	case <-s.expires: // an older time that nobody took
	default:
	}
	select {
	case s.expires <- f.GetRefreshed().GetExpireTime().AsTime():
	default:
	}
	return nil
}
