package fan

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// Session is what a hub asks of the session that a subscriber is of. Refuse and Left are called while a shard is locked, so they
// must neither wait nor call the hub.
type Session interface {
	// Refuse ends the session.
	Refuse(why *bus.Error)
	// Left says that the hub has ended a subscription, because its channel was deleted.
	Left(sub *Subscription)
	// Denied says by index which of the messages the device may not have; nil messages are not asked about.
	Denied(sub *Subscription, list []*bus.Message) ([]bool, error)
	// CatchUp gives the client of a subscription that holds what it was not given, and lets messages through.
	CatchUp(ctx context.Context, sub *Subscription) error
}

// Subscriber is a connection as a hub knows it. It is concrete, so that a message costs no more than the write for each of them.
// Exported fields are set before Enter. Where it is not said otherwise, methods may be used concurrently.
type Subscriber struct {
	Session Session
	Conn    *wire.Conn
	ID      string               // of the connection
	Client  string               // until the identity is set
	Talk    dialect.Conversation // nil unless the dialect is stateful
	Hold    int                  // bytes that each subscription may hold, where that is more than the hub's

	identity atomic.Pointer[bus.Identity]
	slot     int  // of its dialect
	ordered  bool // its client hears all its addresses in the order in which messages came; never changes
	shard    *Shard

	// Guarded by the shard.
	place    int             // in its list
	behind   []*Subscription // that wait for what they were not given
	catching bool            // somebody gives it to them, or is going to
}

// Dialect is what is spoken.
func (s *Subscriber) Dialect() dialect.Dialect { return s.shard.hub.cfg.Dialects[s.slot] }

// Slot is the index of the dialect.
func (s *Subscriber) Slot() int { return s.slot }

// Identity is who it is; nil until that is known.
func (s *Subscriber) Identity() *bus.Identity { return s.identity.Load() }

// SetIdentity says who it is.
func (s *Subscriber) SetIdentity(who *bus.Identity) { s.identity.Store(who) }

// ClientID is whose the connection is; empty until it is known.
func (s *Subscriber) ClientID() string {
	if who := s.identity.Load(); who != nil {
		return who.Client
	}
	return s.Client
}

// Enter puts an open connection into its shard's list.
func (s *Subscriber) Enter() {
	sh := s.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.place = len(sh.subscribers)
	sh.subscribers = append(sh.subscribers, s)
}

// Exit takes it out again.
func (s *Subscriber) Exit() {
	sh := s.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := len(sh.subscribers) - 1
	moved := sh.subscribers[last] // takes the free place: a list of all connections is not to be shifted for each that ends
	sh.subscribers[s.place] = moved
	moved.place = s.place
	sh.subscribers[last] = nil
	sh.subscribers = sh.subscribers[:last]
}

// Attach adds subscriptions of the subscriber, holding.
func (s *Subscriber) Attach(subs []*Subscription) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, sub := range subs {
		s.shard.attach(sub)
	}
}

// Place says where the stream was when subscriptions began to hold.
func (s *Subscriber) Place(subs []*Subscription, at []bus.Position) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for i, sub := range subs {
		sub.line.Start(at[i])
		// What the stream brought before is through the shard within two rounds: one may be under way, and one is being collected.
		sub.joinedBy = s.shard.rounds + 2
	}
}

// List notes that subscriptions are in the roster since a time, and calls join for each. From then on Hub.Listed finds them.
func (s *Subscriber) List(subs []*Subscription, since time.Time, join func(*Subscription)) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, sub := range subs {
		sub.listed = since.UnixMilli()
		join(sub)
	}
}

// Detach removes subscriptions, and returns those that had not ended by themselves; subs is not used after it. What is
// still due to them is dropped.
func (s *Subscriber) Detach(subs []*Subscription) []*Subscription {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	subs = slices.DeleteFunc(subs, func(sub *Subscription) bool { return sub.gone.Load() }) // the hub has told their session
	for _, sub := range subs {
		s.shard.drop(sub)
	}
	return subs
}

// Push writes frames that nobody changes; false when they cannot be written. It never waits and never locks the shard. a is the
// caller's attempt, or nil.
func (s *Subscriber) Push(p []byte, a *wire.Attempt) bool {
	err := s.Conn.Send(p, a)
	if errors.Is(err, wire.ErrSlow) {
		s.Slow()
	}
	return err == nil
}

// Reply writes an answer or an event for this one alone.
func (s *Subscriber) Reply(f *edgev1.ServerFrame) {
	if b := s.EventFrame(f); len(b) > 0 {
		s.Push(b, nil)
	}
}

// Paced writes frames at the client's own pace.
func (s *Subscriber) Paced(ctx context.Context, p []byte) error { return s.paced(ctx, p, nil) }

// paced is Paced of what is wanted until over is set.
func (s *Subscriber) paced(ctx context.Context, p []byte, over *atomic.Bool) error {
	err := s.Conn.SendPaced(ctx, p, over)
	switch {
	case errors.Is(err, wire.ErrSlow):
		return bus.ErrSlowConsumer
	case errors.Is(err, wire.ErrOver):
		return errLeft
	}
	return err
}

// Slow ends a session whose client reads too slowly.
func (s *Subscriber) Slow() {
	s.shard.hub.metrics.slow.Inc()
	s.Session.Refuse(bus.ErrSlowConsumer)
}

// MessageFrame is the frame of a message; nil when the dialect has no words for it.
func (s *Subscriber) MessageFrame(m *bus.Message) []byte {
	if s.Talk == nil {
		return messageFrame(s.Dialect(), m)
	}
	var op dialect.Opcode
	// The payload is made behind room for its header, so that it is not copied once more to become a frame.
	buf := make([]byte, wire.HeaderRoom, wire.HeaderRoom+len(m.Data)+frameOverhead)
	if op, buf = s.Talk.Message(buf, m); buf == nil {
		return nil
	}
	return wire.Seal(byte(op), buf)
}

// EventFrame is the frame of an answer or an event; nil when the dialect has no words for it.
func (s *Subscriber) EventFrame(f *edgev1.ServerFrame) []byte {
	if s.Talk != nil {
		return wire.Frame(byte(dialect.Text), frameOverhead, func(dst []byte) []byte { return s.Talk.Event(dst, f) })
	}
	b, err := eventFrame(s.Dialect(), f)
	if err != nil {
		return s.unencodable(f, err)
	}
	return b
}

// unencodable is what is said in place of a frame that cannot be put into words. A command is answered with a refusal, so that nobody
// waits for ever. Where nobody waits for an answer, or the session is not what its client thinks it is, the session ends.
func (s *Subscriber) unencodable(f *edgev1.ServerFrame, why error) []byte {
	s.shard.hub.cfg.Unencodable(why)
	var b []byte
	if f.GetId() != 0 && f.GetError() == nil {
		b, _ = eventFrame(s.Dialect(), &edgev1.ServerFrame{ // constants always encode
			Id: f.GetId(), Event: &edgev1.ServerFrame_Error{Error: rpc.ErrorProto(bus.ErrInternal)},
		})
	}
	if f.GetId() == 0 || f.GetConnected() != nil {
		if len(b) > 0 {
			s.Push(b, nil)
		}
		s.Session.Refuse(bus.ErrInternal)
		return nil
	}
	return b
}

// bytes is the frame of a parcel; nil when the dialect has no words for it.
func (s *Subscriber) bytes(p *parcel) []byte {
	if s.Talk == nil {
		return p.bytes(&s.shard.hub.languages, s.slot)
	}
	switch e := p.event(); {
	case e == nil:
		return s.MessageFrame(p.m)
	case p.crowd == nil:
		return s.EventFrame(e)
	}
	// The older protocols have a frame for each.
	var out []byte
	event := p.crowd.GetPresenceEvent()
	for _, change := range event.GetChanges() {
		out = append(out, s.EventFrame(presenceFrame(&publishv1.PresenceEvent{
			Address: event.GetAddress(), Clients: event.GetClients(), Changes: []*publishv1.PresenceChange{change},
		}))...)
	}
	return out
}

// join returns the frames of the parcels that this one may have.
func (s *Subscriber) join(due []*parcel) []byte {
	now := s.shard.hub.cfg.Now()
	client := s.ClientID()
	var out []byte
	for _, p := range due {
		if !p.withheld(client, s.ID, now) {
			out = append(out, s.bytes(p)...)
		}
	}
	return out
}

// mayHave says whether this one may have all of the parcels.
func (s *Subscriber) mayHave(due []*parcel) bool {
	now := s.shard.hub.cfg.Now()
	client := s.ClientID()
	return !slices.ContainsFunc(due, func(p *parcel) bool { return p.withheld(client, s.ID, now) })
}
