package edge

import (
	"context"
	"errors"
	"slices"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/fan"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// talker is a session as its conversation sees it.
type talker struct{ s *session }

var (
	_ dialect.Conn      = talker{}
	_ dialect.Follower  = talker{}
	_ dialect.Publisher = talker{}
	_ dialect.States    = talker{}
)

func (t talker) ID() string                    { return t.s.ID }
func (t talker) Identity() *bus.Identity       { return t.s.Identity() }
func (t talker) Refuse(e *bus.Error)           { t.s.edge.metrics.refuse(e); t.s.Refuse(e) }
func (t talker) Subscribed(a bus.Address) bool { return t.s.subscription(a) != nil }

func (t talker) Write(op dialect.Opcode, payload []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), fan.ReplayTimeout)
	defer cancel()
	frame := wire.Frame(byte(op), len(payload), func(dst []byte) []byte { return append(dst, payload...) })
	if errors.Is(t.s.Paced(ctx, frame), bus.ErrSlowConsumer) {
		t.s.Slow()
	}
}

func (t talker) Subscribe(ctx context.Context, f dialect.Follow, followed func()) error {
	s := t.s
	s.forgetEnded()
	wanted := &edgev1.Subscribe{Address: f.Address.String(), Presence: f.Presence, FromLast: f.Last}
	begun, err := s.follow(ctx, s.Identity(), nil, []*edgev1.Subscribe{wanted})
	if err != nil {
		return err
	}
	if why := begun.asked[0].refuse; why != nil {
		return why
	}
	if followed != nil {
		followed()
	}
	s.start(begun)
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
	_, err := t.s.edge.channels.GetChannel(ctx, &publishv1.GetChannelRequest{Name: a.String()})
	if err != nil {
		return rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return nil
}

func (t talker) Listed(ctx context.Context, a bus.Address, client string) (bool, error) {
	return t.s.edge.store.Listed(ctx, a, client)
}

func (t talker) Publish(ctx context.Context, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	return t.s.edge.writer.send(ctx, t.s.placed(t.Identity()), t.s.ID, req)
}

func (t talker) State(ctx context.Context, a bus.Address) (*publishv1.State, error) {
	if err := t.s.authorize(ctx, t.Identity(), bus.Subscribe, a); err != nil {
		return nil, err
	}
	return t.s.edge.writer.state(ctx, t.Identity(), a)
}

func (t talker) UpdateState(ctx context.Context, req *publishv1.UpdateStateRequest) (*publishv1.State, error) {
	return t.s.edge.writer.updateState(ctx, t.s.placed(t.Identity()), req)
}

func (t talker) Ack(to bus.Address, id string) {
	if !to.HasInbox() {
		return
	}
	who := t.s.Identity()
	device := who.Client
	if !who.Owns(to) {
		device = to.ID()
	}
	err := t.s.edge.behind.Acks.Ack(t.s.ID, []bus.Ack{{To: to, ID: id, Device: device, Connection: t.s.ID}}, func(errs []error) {
		if e := rpc.FromError(errs[0]); e != nil && e.RetryAfter > 0 {
			t.s.replyError(0, e)
		}
	})
	if err != nil {
		t.s.edge.metrics.refuse(rpc.FromError(err))
		t.s.replyError(0, err)
	}
}

func (t talker) Become(ctx context.Context, who *bus.Identity) error {
	s := t.s
	asked := time.Now()
	if err := s.edge.behind.Acks.Flush(ctx); err != nil {
		return err // what this connection has acknowledged would be delivered to it again
	}
	if err := s.authorize(ctx, who, bus.Connect, bus.Address{}); err != nil {
		return err
	}
	old, own := s.Identity(), who.Own()
	f, err := s.follow(ctx, who, s.notFollowed(own), nil)
	if err != nil {
		return err
	}
	if !s.become(ctx, who, asked) {
		return nil
	}
	for _, a := range old.Own() {
		if sub := s.subscription(a); sub != nil && !slices.Contains(own, a) {
			s.leave(sub)
		}
	}
	s.rename(who)
	s.start(f)
	return nil
}

// rename tells the rosters by which id the connection goes now.
func (s *session) rename(who *bus.Identity) {
	roster := s.edge.behind.Roster
	listed := slices.DeleteFunc(slices.Clone(s.subs), func(sub *fan.Subscription) bool { return !roster.Lists(sub.Address()) })
	s.List(listed, s.edge.store.Now(), func(sub *fan.Subscription) { roster.Join(sub.Address(), s.member(sub, who)) })
}
