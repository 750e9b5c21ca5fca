package edge

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// redeliverPage is how many messages of an inbox are read at once: what a reconnect costs does not
// grow with what waits.
const redeliverPage = 64

// redeliver hands over what waits in the inbox of an address, oldest first, and then lets messages through.
func (s *session) redeliver(sub *fan.Subscription, at bus.Position) {
	if at.IsStart() && sub.Begin() { // nothing ever asked for an ack here
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), fan.ReplayTimeout)
	defer cancel()
	if err := s.redeliverAll(ctx, sub); err != nil {
		s.Refuse(rpc.FromError(err))
	}
}

func (s *session) redeliverAll(ctx context.Context, sub *fan.Subscription) error {
	var after bus.Position
	for {
		sub.Reading()
		page, err := s.pending(ctx, sub, after)
		if err == nil {
			err = s.hand(ctx, page.Messages)
		}
		if err != nil {
			return err
		}
		after = bus.Position{Epoch: page.Top.Epoch, Offset: page.Next}
		if !page.More && sub.Flip(page.Top) {
			return nil
		}
	}
}

// CatchUp gives the client of a subscription that holds what it was not given, and lets messages through.
func (s *session) CatchUp(ctx context.Context, sub *fan.Subscription) error {
	if sub.Owned() {
		return s.redeliverAll(ctx, sub)
	}
	return sub.Replay(ctx, s.edge.tail, sub.At())
}

// hand writes messages of an inbox, and moves those that nobody acknowledged too often to their dead letters.
func (s *session) hand(ctx context.Context, list []bus.Waiting) error {
	var out []byte
	var notes []bus.Ack
	for i, w := range list {
		if w.Dead {
			if err := s.edge.bury(ctx, w); err != nil {
				return err
			}
		} else {
			m := *w.Message
			m.Redelivered = true
			out = append(out, s.MessageFrame(&m)...)
			notes = append(notes, bus.Ack{To: m.To, ID: m.ID, Device: s.ClientID(), Again: true})
		}
		if len(out) > 0 && (len(out) >= fan.ReplayPiece || i == len(list)-1) {
			if err := s.Paced(ctx, out); err != nil {
				return err
			}
			if given := notes; len(given) > 0 {
				s.Conn.AfterWritten(func() { s.edge.behind.Acks.Wrote(given) })
			}
			out, notes = nil, nil
		}
	}
	return nil
}

// bury publishes a message to its dead letters and removes it. Whoever is interrupted in between, or does it at the same time,
// publishes it once. Where the dead letters cannot be written any more, because their channel was deleted since, the message
// ends all the same. Otherwise it would hold up the inbox for ever.
func (e *Edge) bury(ctx context.Context, w bus.Waiting) error {
	if _, err := e.store.Publish(ctx, e.writer.door.Buried(w)); err != nil {
		if rpc.FromError(err).RetryAfter > 0 {
			return err
		}
		e.log.Warn("a dead letter has no place to go and is dropped", "message", w.ID, "to", w.Delivery.DeadLetter.String(), "error", err.Error())
	}
	if err := e.store.Discard(ctx, w.To, w.ID, bus.EndDeadLetter); err != nil && rpc.FromError(err).RetryAfter > 0 {
		return err
	}
	return nil
}

// Denied asks whether the session's device may have messages, and notes in the store which it may not have. It returns
// by index whether it may not; nil messages are not asked about. It returns an error when nobody can say.
func (s *session) Denied(sub *fan.Subscription, list []*bus.Message) ([]bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	who := s.Identity()
	errs := make([]error, len(list))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, m := range list {
		if m != nil {
			g.Go(func() error {
				errs[i] = bus.AuthorizeDelivery(ctx, s.edge.cfg.Authorizer, who, m)
				return nil
			})
		}
	}
	_ = g.Wait() // each message has its own error
	out := make([]bool, len(list))
	var notes []bus.Denial
	for i, err := range errs {
		if err == nil {
			continue
		}
		e := rpc.FromError(err)
		if e.RetryAfter > 0 {
			return nil, e
		}
		out[i] = true
		notes = append(notes, bus.Denial{To: sub.Address(), ID: list[i].ID, Device: who.Client, Why: e.Message})
		s.edge.metrics.refuse(e)
	}
	if len(notes) == 0 {
		return out, nil
	}
	note, stop := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer stop()
	return out, s.edge.store.MarkDenied(note, notes)
}

// pending returns a page of an inbox as the session's device is given it. Where it has to be asked what the device may have,
// that comes first. So what the device may not have does not count as given.
func (s *session) pending(ctx context.Context, sub *fan.Subscription, after bus.Position) (bus.PendingPage, error) {
	q := bus.PendingQuery{Device: s.ClientID(), After: after.Offset, Epoch: after.Epoch, Limit: redeliverPage, Deliver: true}
	if !sub.Asks() {
		return s.edge.store.Pending(ctx, sub.Address(), q)
	}
	q.Deliver = false
	look, err := s.edge.store.Pending(ctx, sub.Address(), q)
	if err != nil || len(look.Messages) == 0 {
		return look, err
	}
	list := make([]*bus.Message, len(look.Messages))
	for i, w := range look.Messages {
		list[i] = w.Message
	}
	if _, err := s.Denied(sub, list); err != nil {
		return look, err
	}
	q.Deliver, q.Until = true, look.Next
	page, err := s.edge.store.Pending(ctx, sub.Address(), q)
	page.Next, page.More, page.Top = look.Next, look.More, look.Top
	page.Messages = slices.DeleteFunc(page.Messages, func(w bus.Waiting) bool { // of a log that began anew in between
		return !slices.ContainsFunc(list, func(m *bus.Message) bool { return m.ID == w.ID })
	})
	return page, err
}
