package publish

import (
	"context"

	"github.com/google/uuid"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// output is what a stream sends: Consume and Subscribe say the same in messages of their own.
type output struct {
	message    func(*publishv1.Message) error
	gap        func(*publishv1.Gap) error
	subscribed func(*publishv1.Subscribed) error
	dismissed  func(*publishv1.Dismissed) error
	presence   func(*publishv1.PresenceEvent) error
	ended      func(bus.Address) error // the channel was deleted
}

// reader is one stream that follows addresses.
type reader struct {
	ctx    context.Context //nolint:containedctx // of the stream, which the reader is
	server *Server
	caller *rpc.Caller
	out    output
	wake   chan struct{}
	places map[bus.Address]*place
}

// place is where a stream is in an address.
type place struct {
	follower *follower
	line     bus.Line // what was sent
}

func (s *Server) newReader(ctx context.Context, caller *rpc.Caller, out output) *reader {
	return &reader{ctx: ctx, server: s, caller: caller, out: out, wake: make(chan struct{}, 1), places: make(map[bus.Address]*place)}
}

// start follows an address: attach, so that nothing is missed; learn the position; say so; replay.
func (r *reader) start(ctx context.Context, req *publishv1.ConsumeRequest) error {
	a, err := r.check(req)
	if err != nil {
		return err
	}
	if err := r.server.authorize(ctx, r.caller, bus.Subscribe, a); err != nil {
		return err
	}
	p, err := r.enter(ctx, a, req.GetPresence())
	if err != nil {
		return err
	}
	if err := r.begin(ctx, p, req); err != nil {
		// Whatever failed: the address is left, so that nothing comes of it with a hole before it, and a repeat is not refused.
		r.stop(a)
		return err
	}
	return nil
}

// enter attaches to an address and learns the position; after an error nothing is left of it.
func (r *reader) enter(ctx context.Context, a bus.Address, watches bool) (*place, error) {
	f := &follower{address: a, wake: r.wake, limit: r.server.cfg.StreamQueue, watches: watches, mark: uuid.NewString()}
	r.server.streams.attach(f)
	at, err := r.server.acquire(ctx, a)
	if err != nil {
		r.server.streams.detach(f)
		return nil, err
	}
	p := &place{follower: f}
	p.line.Start(at)
	if f.empty() { // what comes now is newer
		p.line.Joined()
	}
	r.places[a] = p
	return p, nil
}

// acquire has the tail follow an address. The feed goes on trying for as long as it takes, and the other addresses of the stream
// must not wait for that.
func (s *Server) acquire(ctx context.Context, a bus.Address) (bus.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, streamCall)
	defer cancel()
	positions, err := s.tail.Acquire(ctx, a)
	if err != nil {
		return bus.Position{}, err
	}
	return positions[0], nil
}

// begin answers a subscribe and replays what it asks for.
func (r *reader) begin(ctx context.Context, p *place, req *publishv1.ConsumeRequest) error {
	a := p.follower.address
	after := convert.Position(req.GetAfter())
	replay := (req.GetAfter() != nil || req.GetFromBeginning()) && r.server.tail.Retention(a).Durable()
	at := p.line.At()
	answer := &publishv1.Subscribed{Address: a.String(), Position: convert.PositionProto(at)}
	var err error
	if replay {
		if answer.Recovered, err = r.server.tail.Recovers(ctx, a, at, after); err != nil {
			return err
		}
		answer.Position = convert.PositionProto(convert.Begin(after, at))
	}
	var last *bus.Message
	if req.GetFromLast() {
		if last, err = r.last(ctx, p); err != nil {
			return err
		}
	}
	if err := r.out.subscribed(answer); err != nil {
		return err
	}
	if replay {
		return r.replay(ctx, p, after)
	}
	if last != nil {
		return r.send(last)
	}
	return nil
}

// last returns what an address retains; nil when there is nothing, or it comes anyway.
func (r *reader) last(ctx context.Context, p *place) (*bus.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, streamCall)
	defer cancel()
	f := p.follower
	last, err := r.server.tail.Retained(ctx, f.address, f.mark)
	if err != nil || last.Message == nil {
		return nil, err
	}
	m := *last.Message
	m.Redelivered = true
	if !m.Position.IsZero() {
		at := p.line.At()
		if m.Position.Epoch != at.Epoch {
			p.line.Given(m.Position) // where it stands nobody can say: it is left out when it comes
		} else if m.Position.Offset > at.Offset {
			return nil, nil
		}
		return &m, nil
	}
	for {
		done, waits := f.caughtUp(last)
		if waits {
			f.awake()
			return nil, nil
		}
		if done {
			f.awake() // for what came meanwhile, here or elsewhere
			return &m, nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, bus.ErrStoreUnavailable.Wrap(ctx.Err())
		}
	}
}

func (r *reader) check(req *publishv1.ConsumeRequest) (bus.Address, error) {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
	if req.GetAfter() != nil && req.GetFromBeginning() {
		bad.Add("from_beginning", "not together with after")
	}
	if req.GetFromLast() && (req.GetAfter() != nil || req.GetFromBeginning()) {
		bad.Add("from_last", "not together with after or from_beginning")
	}
	if req.GetAfter() != nil && req.GetAfter().GetEpoch() == "" {
		bad.Add("after.epoch", "is empty; give the position back as it came")
	}
	if err := bad.Err(); err != nil {
		return a, err
	}
	if err := r.caller.Check(bus.Subscribe, a); err != nil {
		return a, err
	}
	if req.GetAfter() != nil || req.GetFromBeginning() || req.GetFromLast() {
		if err := r.caller.Check(bus.History, a); err != nil {
			return a, err
		}
	}
	if req.GetPresence() {
		if err := r.caller.Check(bus.Presence, a); err != nil {
			return a, err
		}
		if !r.server.cfg.Namespaces.For(a).Presence {
			return a, bus.ErrFieldInvalid.With("presence: "+a.String()+" does not list who is subscribed", map[string]string{"address": a.String()})
		}
	}
	if _, ok := r.places[a]; ok {
		return a, bus.ErrFieldInvalid.With("address "+a.String()+" is followed already", map[string]string{"address": a.String()})
	}
	if len(r.places) >= maxAddresses {
		return a, bus.ErrSubscriptionLimit
	}
	if err := r.server.cfg.Charging.Take(r.caller.Author(bus.Sender{}), bus.Charge{Address: a, Subscriptions: 1}); err != nil {
		return a, err
	}
	return a, nil
}

// maxAddresses is how many addresses one stream may follow.
const maxAddresses = 1000

// stop leaves an address; false when it was not followed.
func (r *reader) stop(a bus.Address) bool {
	p, ok := r.places[a]
	if !ok {
		return false
	}
	r.server.streams.detach(p.follower)
	r.server.tail.Release(a)
	delete(r.places, a)
	return true
}

func (r *reader) stopAll() {
	for a := range r.places {
		r.stop(a)
	}
}

// replay sends what the log has after a position. It goes at the pace of the stream's reader.
func (r *reader) replay(ctx context.Context, p *place, after bus.Position) error {
	p.line.Reading()
	next, err := r.server.tail.Replay(ctx, p.follower.address, after, func(g bus.Gap) {
		_ = r.out.gap(convert.GapProto(g)) // the stream's error shows with the next message
	}, func(m *bus.Message) error {
		if m.Ack != 0 { // of an inbox: it waits there because it may not have been seen
			c := *m
			c.Redelivered = true
			m = &c
		}
		return r.send(m)
	})
	if err != nil {
		return err
	}
	p.line.Read(next)
	return nil
}

func (r *reader) send(m *bus.Message) error {
	client := ""
	if r.caller.Identity != nil {
		client = r.caller.Identity.Client
	}
	// A back end sees every message; a client those that are for it.
	if client != "" && !m.For(client, "") || m.Expired(r.server.store.Now()) {
		return nil
	}
	switch m.Kind {
	case bus.MessageDismissal:
		return r.out.dismissed(&publishv1.Dismissed{Address: m.To.String(), Ids: []string{m.ID}})
	case bus.MessagePresence, bus.MessageReceipt:
		return nil
	}
	if m.Ack != 0 && client != "" {
		if ok, err := r.mayHave(m); !ok {
			return err
		}
	}
	p := convert.MessageProto(m)
	if !convert.Encodes(p) {
		return r.untellable(m)
	}
	if err := r.out.message(p); err != nil {
		return err
	}
	if m.Ack != 0 && client != "" {
		// The receipt may lag behind; what is delivered does not wait for it.
		return r.server.store.MarkSent(r.ctx, []bus.Ack{{To: m.To, ID: m.ID, Device: client, Again: m.Redelivered}})
	}
	return nil
}

// untellable tells a gap in place of a message that cannot be encoded. Were the stream to end instead, its reader would come back to
// the same message for ever.
func (r *reader) untellable(m *bus.Message) error {
	r.server.unencodable(m)
	before := m.Position
	if before.Offset > 0 {
		before.Offset--
	}
	return r.out.gap(convert.GapProto(bus.Gap{Address: m.To, From: before, To: m.Position, Reason: bus.GapTailUnknown}))
}

// flush sends what waits in every address.
func (r *reader) flush(ctx context.Context) error {
	for _, p := range r.places {
		for {
			queue, missed := p.follower.take()
			if len(queue) == 0 && !missed {
				break
			}
			if err := r.pass(ctx, p, queue, missed); err != nil {
				return err
			}
		}
		if p.follower.over() {
			r.stop(p.follower.address)
			if err := r.out.ended(p.follower.address); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) pass(ctx context.Context, p *place, queue []item, missed bool) error {
	for _, i := range queue {
		if next, err := r.next(ctx, p, i); err != nil {
			return err
		} else if !next {
			continue
		}
		var err error
		switch {
		case i.crowd != nil:
			err = r.out.presence(i.crowd)
		case i.m != nil:
			err = r.send(i.m)
		default:
			err = r.out.gap(convert.GapProto(*i.gap))
		}
		if err != nil {
			return err
		}
	}
	if !missed {
		return nil
	}
	if r.server.tail.Retention(p.follower.address).Durable() {
		if err := r.replay(ctx, p, p.line.At()); err != nil || !p.follower.watches {
			return err
		}
		// No message is missing, but presence events may be.
		return r.out.gap(convert.GapProto(bus.Gap{Address: p.follower.address, From: p.line.At(), To: p.line.At(), Reason: bus.GapSlow}))
	}
	return r.out.gap(convert.GapProto(bus.Gap{Address: p.follower.address, Reason: bus.GapSlow}))
}

// next says whether an item is to be sent: it was not part of a replay. Where nobody can say, the log is read once more.
func (r *reader) next(ctx context.Context, p *place, i item) (bool, error) {
	for {
		switch p.line.Take(i.span()) {
		case bus.Next:
			return true, nil
		case bus.Had:
			return false, nil
		}
		if err := r.replay(ctx, p, p.line.At()); err != nil {
			return false, err
		}
	}
}
