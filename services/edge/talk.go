package edge

import (
	"context"
	"slices"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// clientID is whose the session is; empty until it is known.
func (s *session) clientID() string {
	if who := s.identity.Load(); who != nil {
		return who.Client
	}
	return s.client
}

// bytes returns the frame of a parcel for this session; nil when its protocol has no words for it.
func (s *session) bytes(p *parcel) []byte {
	switch {
	case s.talk == nil:
		return p.bytes(s.dialect(), s.slot)
	case p.event() != nil:
		return s.eventFrame(p.event())
	}
	return s.messageFrame(p.m)
}

func (s *session) messageFrame(m *bus.Message) []byte {
	if s.talk == nil {
		return messageFrame(s.dialect(), m)
	}
	var op dialect.Opcode
	buf := make([]byte, wire.HeaderRoom, wire.HeaderRoom+len(m.Data)+frameOverhead)
	if op, buf = s.talk.Message(buf, m); buf == nil {
		return nil
	}
	return wire.Seal(byte(op), buf)
}

func (s *session) eventFrame(f *edgev1.ServerFrame) []byte {
	if s.talk == nil {
		return replyFrame(s.dialect(), f)
	}
	return wire.Frame(byte(dialect.Text), frameOverhead, func(dst []byte) []byte { return s.talk.Event(dst, f) })
}

// tick sends what is due by the clock. The caller holds the shard's lock.
func (s *session) tick(now time.Time, a *wire.Attempt) {
	if text := s.talk.Tick(now); text != nil && s.identity.Load() != nil {
		s.push(wire.Frame(byte(dialect.Text), len(text), func(dst []byte) []byte { return append(dst, text...) }), a)
	}
}

// talker is a session as its conversation sees it.
type talker struct{ s *session }

var (
	_ dialect.Conn      = talker{}
	_ dialect.Follower  = talker{}
	_ dialect.Publisher = talker{}
	_ dialect.States    = talker{}
)

func (t talker) ID() string                    { return t.s.id }
func (t talker) Identity() *bus.Identity       { return t.s.identity.Load() }
func (t talker) Refuse(e *bus.Error)           { t.s.owner.metrics.refuse(e); t.s.refuse(e) }
func (t talker) Subscribed(a bus.Address) bool { return t.s.subscription(a) != nil }

func (t talker) Write(op dialect.Opcode, payload []byte) {
	t.s.push(wire.Frame(byte(op), len(payload), func(dst []byte) []byte { return append(dst, payload...) }), nil)
}

func (t talker) Subscribe(ctx context.Context, f dialect.Follow, followed func()) error {
	s := t.s
	s.forgetEnded()
	who := s.identity.Load()
	req, err := s.request(who, &edgev1.Subscribe{Address: f.Address.String(), Presence: f.Presence, FromLast: f.Last}, s.subs)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, who, bus.Subscribe, f.Address); err != nil {
		return err
	}
	positions, err := s.follow(ctx, who, []*subscription{req.sub})
	if err != nil {
		return err
	}
	req.at = positions[0]
	if err := s.readLasts(ctx, []*request{req}); err != nil {
		s.leave(req.sub)
		return err
	}
	if followed != nil {
		followed()
	}
	s.giveLast(req)
	s.start(req, req.at)
	return nil
}

func (t talker) Unsubscribe(a bus.Address) bool {
	sub := t.s.subscription(a)
	if sub == nil {
		return false
	}
	t.s.leave(sub)
	return true
}

func (t talker) Created(ctx context.Context, a bus.Address) error {
	_, err := t.s.owner.channels.GetChannel(ctx, &publishv1.GetChannelRequest{Name: a.String()})
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return nil
}

func (t talker) Listed(ctx context.Context, a bus.Address, client string) (bool, error) {
	return t.s.owner.store.Listed(ctx, a, client)
}

func (t talker) Publish(ctx context.Context, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	return t.s.owner.writer.send(ctx, t.Identity(), t.s.id, req)
}

func (t talker) State(ctx context.Context, a bus.Address) (*publishv1.State, error) {
	return t.s.owner.writer.state(ctx, t.Identity(), a)
}

func (t talker) UpdateState(ctx context.Context, req *publishv1.UpdateStateRequest) (*publishv1.State, error) {
	return t.s.owner.writer.updateState(ctx, t.Identity(), req)
}

func (t talker) Ack(to bus.Address, id string) {
	if !to.HasInbox() {
		return
	}
	who := t.s.identity.Load()
	device := who.Client
	if !who.Owns(to) {
		device = to.ID()
	}
	err := t.s.owner.behind.Acks.Ack(t.s.id, []bus.Ack{{To: to, ID: id, Device: device, Connection: t.s.id}}, func(errs []error) {
		if e := rpc.FromError(errs[0]); e != nil && e.RetryAfter > 0 {
			t.s.replyError(0, e)
		}
	})
	if err != nil {
		t.s.owner.metrics.refuse(rpc.FromError(err))
		t.s.replyError(0, err)
	}
}

func (t talker) Become(ctx context.Context, who *bus.Identity) error {
	s := t.s
	asked := time.Now()
	if err := s.owner.behind.Acks.Flush(ctx); err != nil {
		return err // what this connection has acknowledged would be delivered to it again
	}
	if err := s.authorize(ctx, who, bus.Connect, bus.Address{}); err != nil {
		return err
	}
	var subs []*subscription
	own := who.Own()
	for _, a := range own {
		if s.subscription(a) == nil {
			subs = append(subs, newSubscription(s, who, a))
		}
	}
	positions, err := s.follow(ctx, who, subs)
	if err != nil {
		return err
	}
	old := s.identity.Swap(who)
	s.conn.ExpireAt(who.Expires)
	if s.owner.revocations.Opened(ctx, standing{s}, asked); s.refused.Load() != nil {
		return nil
	}
	for _, a := range old.Own() {
		if sub := s.subscription(a); sub != nil && !slices.Contains(own, a) {
			s.leave(sub)
		}
	}
	for i, sub := range subs {
		s.letIn(sub, positions[i])
	}
	return nil
}

// subscription returns the session's subscription of an address; nil when there is none.
func (s *session) subscription(a bus.Address) *subscription {
	s.forgetEnded()
	i := slices.IndexFunc(s.subs, func(sub *subscription) bool { return sub.address == a })
	if i < 0 {
		return nil
	}
	return s.subs[i]
}
