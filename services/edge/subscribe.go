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
	"github.com/trunkline/trunkline/internal/tail"
)

// request is a checked subscribe command.
type request struct {
	sub    *subscription
	after  bus.Position
	replay bool // after a position, or from the beginning
	// recovers is set when the position belongs to the log; known after follow.
	recovers bool
	at       bus.Position // where it begins; known after follow
	// last asks for what is retained, and kept is that, unless it comes anyway; known after readLasts.
	last bool
	kept *bus.Message
}

// request checks a subscribe command against the identity and what is subscribed already.
func (s *session) request(who *bus.Identity, c *edgev1.Subscribe, have []*subscription) (*request, error) {
	var bad bus.Invalid
	a := bad.Address("address", c.GetAddress())
	after := bus.Position{Epoch: c.GetAfter().GetEpoch(), Offset: c.GetAfter().GetOffset()}
	if c.GetAfter() != nil && c.GetFromBeginning() {
		bad.Add("from_beginning", "not together with after")
	}
	if c.GetAfter() != nil && after.Epoch == "" {
		bad.Add("after.epoch", "is empty; give the position back as it came")
	}
	if c.GetFromLast() && (c.GetAfter() != nil || c.GetFromBeginning()) {
		bad.Add("from_last", "not together with after or from_beginning")
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if err := who.Check(bus.Subscribe, a); err != nil {
		return nil, err
	}
	if err := s.owner.behind.Roster.Admit(a, s.id); err != nil {
		return nil, err
	}
	if c.GetPresence() {
		if err := who.Check(bus.Presence, a); err != nil {
			return nil, err
		}
		if !s.owner.behind.Roster.Lists(a) {
			return nil, bus.ErrFieldInvalid.With("presence: "+a.String()+" does not list who is subscribed", map[string]string{"address": a.String()})
		}
	}
	req := &request{sub: newSubscription(s, who, a), after: after, last: c.GetFromLast()}
	req.sub.watches = c.GetPresence()
	req.replay = (c.GetAfter() != nil || c.GetFromBeginning()) && s.owner.tail.Retention(a).Durable()
	if req.replay || req.last {
		if err := who.Check(bus.History, a); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(have, func(h *subscription) bool { return h.address == a }) {
		return nil, bus.ErrFieldInvalid.With("address "+a.String()+" is subscribed already", map[string]string{"address": a.String()})
	}
	if len(have) >= s.owner.cfg.Subscriptions+len(s.own(who)) {
		return nil, bus.ErrSubscriptionLimit
	}
	return req, nil
}

// follow attaches subscriptions, holding, and follows their addresses. After an error nothing is left.
func (s *session) follow(ctx context.Context, who *bus.Identity, subs []*subscription) ([]bus.Position, error) {
	addresses := make([]bus.Address, len(subs))
	for i, sub := range subs {
		addresses[i] = sub.address
	}
	s.shard.attach(subs)
	positions, err := s.owner.tail.Acquire(ctx, addresses...)
	if err != nil {
		s.shard.detach(subs)
		return nil, err
	}
	s.shard.place(subs, positions)
	s.subs = append(s.subs, subs...)
	s.shard.list(who, subs, s.shard.owner.store.Now())
	return positions, nil
}

// locate finds out whether the position asked for belongs to the log.
func (s *session) locate(ctx context.Context, req *request, at bus.Position) error {
	if !req.replay {
		return nil
	}
	var err error
	req.recovers, err = s.owner.tail.Recovers(ctx, req.sub.address, at, req.after)
	return err
}

// answer says from where messages follow. What is to be replayed follows the answer.
func (r *request) answer(at bus.Position) *publishv1.Subscribed {
	p := &publishv1.Subscribed{Address: r.sub.address.String(), Position: positionProto(at)}
	if r.replay {
		p.Position = positionProto(r.after)
		// What is trimmed between the look and the replay is told by a gap.
		p.Recovered = r.recovers
	}
	return p
}

// start replays what was asked for and lets messages through.
func (s *session) start(req *request, at bus.Position) {
	if req.sub.owned {
		s.redeliver(req.sub, at)
		return
	}
	if !req.replay && s.shard.begin(req.sub) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), replayTimeout)
	defer cancel()
	after := at
	if req.replay {
		after = req.after
	}
	if err := s.replayAll(ctx, req.sub, after); err != nil {
		s.refuse(rpc.FromError(err))
	}
}

// replayAll writes what the log has after a position, and lets messages through. More may arrive meanwhile than is held, or of
// an epoch whose place is not known; the log has it, and is read again.
func (s *session) replayAll(ctx context.Context, sub *subscription, after bus.Position) error {
	for {
		s.shard.reading(sub)
		next, err := s.replay(ctx, sub, after)
		if errors.Is(err, errLeft) {
			return nil
		}
		if err != nil || s.shard.flip(sub, next) {
			return err
		}
		after = next
	}
}

// replayTimeout bounds one replay; a client that takes longer resumes from where it came to.
const replayTimeout = time.Minute

// replayPiece is how many bytes of a replay are written at once.
const replayPiece = 32 << 10

func (s *session) replay(ctx context.Context, sub *subscription, after bus.Position) (bus.Position, error) {
	return s.owner.tail.ReplayPages(ctx, sub.address, after, func(p *tail.Shared) error {
		if p.Gap != nil {
			if err := s.sendReplay(ctx, sub, s.bytes(s.owner.gapParcel(*p.Gap))); err != nil {
				return err
			}
		}
		for _, piece := range s.pieces(p) {
			if err := s.sendReplay(ctx, sub, piece); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) sendReplay(ctx context.Context, sub *subscription, piece []byte) error {
	if len(piece) == 0 {
		return nil // the dialect has no words for it
	}
	if sub.isGone() {
		return errLeft
	}
	return s.paced(ctx, piece)
}

// pieces returns the frames of a page, a few in each. Sessions of one dialect share them, unless the messages are not for everybody.
func (s *session) pieces(p *tail.Shared) [][]byte {
	if s.talk == nil && !slices.ContainsFunc(p.Messages, (*bus.Message).Selective) {
		return p.Memo(s.slot, func() any { return s.framePage(p) }).([][]byte) //nolint:forcetypeassert // what it makes
	}
	return s.framePage(p)
}

func (s *session) framePage(p *tail.Shared) [][]byte {
	var all [][]byte
	var out []byte
	for _, m := range p.Messages {
		if m.For(s.clientID(), s.id) {
			out = append(out, s.messageFrame(m)...)
		}
		if len(out) >= replayPiece {
			all, out = append(all, out), nil
		}
	}
	if len(out) > 0 {
		all = append(all, out)
	}
	return all
}

func (s *session) subscribe(ctx context.Context, id uint32, who *bus.Identity, c *edgev1.Subscribe) error {
	req, err := s.request(who, c, s.subs)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, who, bus.Subscribe, req.sub.address); err != nil {
		return err
	}
	positions, err := s.follow(ctx, who, []*subscription{req.sub})
	if err != nil {
		return err
	}
	req.at = positions[0]
	if err := s.locate(ctx, req, req.at); err != nil {
		s.leave(req.sub)
		return err
	}
	if err := s.readLasts(ctx, []*request{req}); err != nil {
		s.leave(req.sub)
		return err
	}
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Subscribed{Subscribed: req.answer(req.at)}})
	s.giveLast(req)
	s.start(req, req.at)
	return nil
}

func (s *session) unsubscribe(id uint32, c *edgev1.Unsubscribe) error {
	a, err := bus.ParseAddress(c.GetAddress())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.subs, func(sub *subscription) bool { return sub.address == a })
	if i < 0 {
		return bus.ErrFieldInvalid.With("address "+a.String()+" is not subscribed", map[string]string{"address": a.String()})
	}
	s.leave(s.subs[i])
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Unsubscribed{
		Unsubscribed: &publishv1.Unsubscribed{Address: a.String()},
	}})
	return nil
}

// leave ends one subscription.
func (s *session) leave(sub *subscription) {
	if len(s.shard.detach([]*subscription{sub})) > 0 {
		s.owner.tail.Release(sub.address)
		s.owner.behind.Roster.Leave(sub.address, s.id, time.Time{})
	}
	s.subs = slices.DeleteFunc(s.subs, func(other *subscription) bool { return other == sub })
}

func indexOf(subs []*subscription, sub *subscription) int { return slices.Index(subs, sub) }
