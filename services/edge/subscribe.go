package edge

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// A subscription begins in the same steps whoever asks for it: a connect, a subscribe, an older protocol or a new token. They
// stand here from top to bottom. follow checks, authorizes and follows; then messages are held, and none can be missed. The
// caller answers the client. start gives what is retained and replayed, and lets messages through. The subscribe command is
// the shortest caller, and stands behind the steps.

// request is one address that is to be followed.
type request struct {
	sub    *fan.Subscription
	refuse error        // why it is not followed; the fields below are not set then
	at     bus.Position // where it begins; known when it is followed
	after  bus.Position
	replay bool // after a position, or from the beginning
	// recovers is set when the position belongs to the log; known when it is located.
	recovers bool
	// last asks for what is retained, and kept is that, unless it comes anyway; known when it is read.
	last bool
	kept *bus.Message
}

// followed is what begins together.
type followed struct {
	own   []*request // of the identity itself: never refused
	asked []*request // in the order asked for
}

// accepted returns what is followed: the own addresses first.
func (f *followed) accepted() []*request {
	return slices.DeleteFunc(slices.Concat(f.own, f.asked), func(r *request) bool { return r.refuse != nil })
}

// follow follows addresses, holding what comes. An address that is asked for and not allowed says so in its request. After an
// error nothing more is followed than before.
func (s *session) follow(ctx context.Context, who *bus.Identity, own []bus.Address, asked []*edgev1.Subscribe) (*followed, error) {
	f := &followed{own: make([]*request, len(own)), asked: make([]*request, len(asked))}
	have := slices.Clone(s.subs)
	for i, a := range own {
		f.own[i] = &request{sub: s.NewSubscription(who, a, false)}
		have = append(have, f.own[i].sub)
	}
	for i, c := range asked {
		req, err := s.check(who, c, have)
		if err != nil {
			f.asked[i] = &request{refuse: err}
			continue
		}
		f.asked[i] = req
		have = append(have, req.sub)
	}
	s.authorizeAll(ctx, who, f.asked)
	requests := f.accepted()
	if len(requests) == 0 {
		return f, nil
	}
	if err := s.attach(ctx, who, requests); err != nil {
		return nil, err
	}
	err := s.locate(ctx, requests)
	if err == nil {
		err = s.readLasts(ctx, requests)
	}
	if err != nil {
		for _, req := range requests {
			s.leave(req.sub)
		}
		return nil, err
	}
	return f, nil
}

// check checks a subscribe command against the identity and what is subscribed already.
func (s *session) check(who *bus.Identity, c *edgev1.Subscribe, have []*fan.Subscription) (*request, error) {
	a, after, err := readSubscribe(c)
	if err != nil {
		return nil, err
	}
	if err := who.Check(bus.Subscribe, a); err != nil {
		return nil, err
	}
	if err := s.edge.behind.Roster.Free(a, s.ID); err != nil {
		return nil, err
	}
	if c.GetPresence() {
		if err := who.Check(bus.Presence, a); err != nil {
			return nil, err
		}
		if !s.edge.behind.Roster.Lists(a) {
			return nil, bus.ErrFieldInvalid.With("presence: "+a.String()+" does not list who is subscribed", map[string]string{"address": a.String()})
		}
	}
	req := &request{sub: s.NewSubscription(who, a, c.GetPresence()), after: after, last: c.GetFromLast()}
	req.replay = (c.GetAfter() != nil || c.GetFromBeginning()) && s.edge.tail.Retention(a).Durable()
	if req.replay || req.last {
		if err := who.Check(bus.History, a); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(have, func(h *fan.Subscription) bool { return h.Address() == a }) {
		return nil, bus.ErrFieldInvalid.With("address "+a.String()+" is subscribed already", map[string]string{"address": a.String()})
	}
	if len(have) >= s.limit+len(s.own(who)) {
		return nil, bus.ErrSubscriptionLimit
	}
	if err := s.edge.cfg.Charging.Take(who.Author(bus.Sender{}), bus.Charge{Address: a, Subscriptions: 1}); err != nil {
		return nil, err
	}
	return req, nil
}

// readSubscribe reads the fields of a subscribe command.
func readSubscribe(c *edgev1.Subscribe) (bus.Address, bus.Position, error) {
	var bad bus.Invalid
	a := bad.Address("address", c.GetAddress())
	after := convert.Position(c.GetAfter())
	if c.GetAfter() != nil && c.GetFromBeginning() {
		bad.Add("from_beginning", "not together with after")
	}
	if c.GetAfter() != nil && after.Epoch == "" {
		bad.Add("after.epoch", "is empty; give the position back as it came")
	}
	if c.GetFromLast() && (c.GetAfter() != nil || c.GetFromBeginning()) {
		bad.Add("from_last", "not together with after or from_beginning")
	}
	return a, after, bad.Err()
}

// parallel is how many subscriptions of one command are asked about at once.
const parallel = 16

// authorizeAll asks the authorizer, if there is one, about what the token allows.
func (s *session) authorizeAll(ctx context.Context, who *bus.Identity, asked []*request) {
	if s.edge.cfg.Authorizer == nil {
		return
	}
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, req := range asked {
		if req.refuse == nil {
			g.Go(func() error {
				req.refuse = s.authorize(ctx, who, bus.Subscribe, req.sub.Address())
				return nil
			})
		}
	}
	_ = g.Wait() // each request has its own error
}

// authorize asks about one action.
func (s *session) authorize(ctx context.Context, who *bus.Identity, action bus.Action, a bus.Address) error {
	if s.edge.cfg.Authorizer == nil {
		return nil
	}
	return bus.Authorize(ctx, s.edge.cfg.Authorizer, bus.Question{Identity: who, Action: action, Address: a, Place: s.placed(who).Place})
}

// placed is an identity of this session as the authorizer is told of it.
func (s *session) placed(who *bus.Identity) bus.Placed {
	if s.place == nil {
		return bus.Placed{Identity: who, Place: &bus.Place{Dialect: s.Dialect().Name()}}
	}
	return bus.Placed{Identity: who, Place: s.place}
}

// attach attaches subscriptions, holding, and follows their addresses. After an error nothing is left.
func (s *session) attach(ctx context.Context, who *bus.Identity, requests []*request) error {
	subs := make([]*fan.Subscription, len(requests))
	addresses := make([]bus.Address, len(requests))
	for i, req := range requests {
		subs[i], addresses[i] = req.sub, req.sub.Address()
	}
	// Attached first: what the stream brings from now on is held, so nothing is missed between its position and the hub.
	s.Attach(subs)
	positions, err := s.edge.tail.Acquire(ctx, addresses...)
	if err != nil {
		s.Detach(subs)
		return err
	}
	s.Place(subs, positions)
	for i, req := range requests {
		req.at = positions[i]
	}
	s.subs = append(s.subs, subs...)
	s.list(who, subs)
	return nil
}

// locate finds out whether the positions asked for belong to the log.
func (s *session) locate(ctx context.Context, requests []*request) error {
	for _, req := range requests {
		if !req.replay {
			continue
		}
		var err error
		if req.recovers, err = s.edge.tail.Recovers(ctx, req.sub.Address(), req.at, req.after); err != nil {
			return err
		}
	}
	return nil
}

// readLasts reads what the addresses retain, for those that ask for it.
func (s *session) readLasts(ctx context.Context, requests []*request) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, req := range requests {
		if req.last {
			g.Go(func() (err error) {
				req.kept, err = req.sub.Retained(ctx, s.edge.tail)
				return err
			})
		}
	}
	return g.Wait()
}

// answer says from where messages follow. What is to be replayed follows the answer.
func (r *request) answer() *publishv1.Subscribed {
	p := &publishv1.Subscribed{Address: r.sub.Address().String(), Position: convert.PositionProto(r.at)}
	if r.replay {
		p.Position = convert.PositionProto(convert.Begin(r.after, r.at))
		// What is trimmed between the look and the replay is told by a gap.
		p.Recovered = r.recovers
	}
	return p
}

// start lets messages through: of the own addresses, then of the others. What these retain comes before any of their messages.
func (s *session) start(f *followed) {
	for _, req := range f.own {
		s.begin(req)
	}
	var asked []*request
	for _, req := range f.asked {
		if req.refuse == nil {
			asked = append(asked, req)
			s.giveLast(req)
		}
	}
	for _, req := range asked {
		s.begin(req)
	}
}

// giveLast writes what an address retains, at the client's pace.
func (s *session) giveLast(req *request) {
	if req.kept == nil || !req.kept.For(s.ClientID(), s.ID) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), fan.ReplayTimeout)
	defer cancel()
	if b := s.MessageFrame(req.kept); len(b) > 0 {
		_ = s.Paced(ctx, b) // a client that is gone is noticed by its reader
	}
}

// begin replays what was asked for, or what waits in the inbox, and lets messages through.
func (s *session) begin(req *request) {
	if req.sub.Owned() {
		s.redeliver(req.sub, req.at)
		return
	}
	after := req.at
	if req.replay {
		after = req.after
	} else if req.sub.Begin() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), fan.ReplayTimeout)
	defer cancel()
	err := req.sub.Replay(ctx, s.edge.tail, after)
	switch e := rpc.FromError(err); {
	case err == nil:
	// Nobody can read that log. The connection has other subscriptions, which go on.
	case errors.Is(e, bus.ErrStoredForeign):
		s.leave(req.sub)
		s.tellUnsubscribed(0, req.sub.Address())
	default:
		s.Refuse(e)
	}
}

// subscribe carries out a subscribe command.
func (s *session) subscribe(ctx context.Context, id uint32, who *bus.Identity, c *edgev1.Subscribe) error {
	f, err := s.follow(ctx, who, nil, []*edgev1.Subscribe{c})
	if err != nil {
		return err
	}
	req := f.asked[0]
	if req.refuse != nil {
		return req.refuse
	}
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Subscribed{Subscribed: req.answer()}})
	s.start(f)
	return nil
}

// unsubscribe carries out an unsubscribe command.
func (s *session) unsubscribe(id uint32, c *edgev1.Unsubscribe) error {
	a, err := bus.AddressIn("address", c.GetAddress())
	if err != nil {
		return err
	}
	sub := s.subscription(a)
	if sub == nil {
		var bad bus.Invalid
		bad.Add("address", "%s is not subscribed", a)
		return bad.Err()
	}
	s.leave(sub)
	s.tellUnsubscribed(id, a)
	return nil
}

func (s *session) tellUnsubscribed(id uint32, a bus.Address) {
	s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Unsubscribed{
		Unsubscribed: &publishv1.Unsubscribed{Address: a.String()},
	}})
}

// subscription returns the session's subscription of an address; nil when there is none.
func (s *session) subscription(a bus.Address) *fan.Subscription {
	s.forgetEnded()
	i := slices.IndexFunc(s.subs, func(sub *fan.Subscription) bool { return sub.Address() == a })
	if i < 0 {
		return nil
	}
	return s.subs[i]
}

// leave ends one subscription.
func (s *session) leave(sub *fan.Subscription) {
	if len(s.Detach([]*fan.Subscription{sub})) > 0 {
		s.edge.tail.Release(sub.Address())
		s.unlist(sub.Address(), time.Time{})
	}
	s.subs = slices.DeleteFunc(s.subs, func(other *fan.Subscription) bool { return other == sub })
}

// Left says that the hub has ended a subscription, whose shard is locked. The session's list belongs to another goroutine, which
// forgets it with its next command.
func (s *session) Left(sub *fan.Subscription) {
	s.stale.Store(true)
	s.edge.tail.Release(sub.Address())
	s.edge.behind.Roster.Leave(sub.Address(), s.ID, time.Time{})
}

// forgetEnded removes from the session's list what was ended since it was asked last.
func (s *session) forgetEnded() {
	if s.stale.Swap(false) {
		s.subs = slices.DeleteFunc(s.subs, (*fan.Subscription).Gone)
	}
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
