package edge

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// session is the life of one connection. At any time at most one goroutine has it: a worker while something is being
// read or done, and nobody while its connection is parked; see wire.Conn. Only that goroutine touches what is not atomic or guarded by the shard.
type session struct {
	owner   *Edge
	conn    *wire.Conn
	shard   *shard
	slot    int // of its dialect
	id      string
	ip      string
	subs    []*subscription
	limiter rate.Limiter
	client  string // until the identity is set
	counted bool   // among the connects in progress
	single  bool   // in rosters, a client of its own
	// onlyFollow leaves the identity's own addresses out.
	onlyFollow bool
	talk       dialect.Conversation // nil unless the dialect is stateful

	identity atomic.Pointer[bus.Identity]
	renews   atomic.Int64 // when the next ticket is due, in Unix seconds; 0 for never
	refused  atomic.Pointer[bus.Error]
	stale    atomic.Bool // subs has some that were ended

	behind   []*subscription // that wait for what they were not given; guarded by the shard
	catching bool            // somebody gives it to them, or is going to; guarded by the shard

	place int    // in the shard's list; guarded by the shard
	age   uint32 // seconds since the last ping, or since the accept; guarded by the shard
}

func (s *session) dialect() dialect.Dialect { return s.owner.slots[s.slot] }

// push writes shared bytes; false when they cannot be written. It never blocks and never takes the shard's lock.
func (s *session) push(p []byte, a *wire.Attempt) bool {
	err := s.conn.Send(p, a)
	if errors.Is(err, wire.ErrSlow) {
		s.Stop(err)
	}
	return err == nil
}

// paced writes frames at the client's own pace.
func (s *session) paced(ctx context.Context, p []byte) error {
	err := s.conn.SendPaced(ctx, p)
	if errors.Is(err, wire.ErrSlow) {
		return bus.ErrSlowConsumer
	}
	return err
}

// Stop ends a session to which nothing can be written any more.
func (s *session) Stop(why error) {
	if errors.Is(why, wire.ErrExpired) {
		s.refuse(bus.ErrTokenExpired)
		return
	}
	s.owner.metrics.slow.Inc()
	s.refuse(bus.ErrSlowConsumer)
}

// reply writes an answer or an event of this session alone.
func (s *session) reply(f *edgev1.ServerFrame) {
	if b := s.eventFrame(f); len(b) > 0 {
		s.push(b, nil)
	}
}

// replyError answers a command with a refusal.
func (s *session) replyError(id uint32, err error) {
	s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Error{Error: rpc.ErrorProto(err)}})
}

// join returns the frames of the parcels that this session may have.
func (s *session) join(due []*parcel) []byte {
	now := s.shard.owner.store.Now()
	client := s.clientID()
	var out []byte
	for _, p := range due {
		if !p.withheld(client, s.id, now) {
			out = append(out, s.bytes(p)...)
		}
	}
	return out
}

// mayHave says whether this session may have all of the parcels.
func (s *session) mayHave(due []*parcel) bool {
	now := s.shard.owner.store.Now()
	client := s.clientID()
	return !slices.ContainsFunc(due, func(p *parcel) bool { return p.withheld(client, s.id, now) })
}

// withheld says whether the connection of the client must not have the parcel.
func (p *parcel) withheld(client, connection string, now time.Time) bool {
	return p.m != nil && (!p.m.For(client, connection) || p.m.Expired(now))
}

// refuse ends the session with a reason: an error event, then the close frame. The first reason counts.
func (s *session) refuse(e *bus.Error) { s.refuseAfter(nil, e) }

// refuseAfter is refuse with frames that come before the error event, and are lost no more easily than that.
func (s *session) refuseAfter(first []byte, e *bus.Error) {
	if !s.refused.CompareAndSwap(nil, e) {
		return
	}
	last := append(first[:len(first):len(first)], s.eventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Error{Error: rpc.ErrorProto(e)}})...)
	code, text := s.dialect().Close(e)
	s.conn.Finish(append(last[:len(last):len(last)], wire.CloseFrame(code, text)...))
	s.hasten(e)
}

// Receive does what a message says.
func (s *session) Receive(op int, data []byte) {
	defer s.recovered()
	if s.refused.Load() != nil {
		return // the client's close is waited for
	}
	if dialect.Opcode(op) == dialect.Text && !utf8.Valid(data) { //nolint:gosec // 1 or 2
		s.refuse(errNotUTF8)
		return
	}
	if !s.limiter.Allow() {
		s.owner.metrics.refuse(bus.ErrRateLimited)
		s.refuse(bus.ErrRateLimited.With("", map[string]string{"rule": "edge.commands_per_second"}))
		return
	}
	if s.conn.Expired(time.Now().UnixMilli()) { // this process may have stood still
		s.refuse(bus.ErrTokenExpired)
		return
	}
	s.forgetEnded()
	if s.talk != nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.owner.cfg.CallTimeout)
		defer cancel()
		s.talk.Receive(ctx, dialect.Opcode(op), data) //nolint:gosec // 1 or 2
		return
	}
	words, ok := s.dialect().(dialect.Stateless)
	if !ok {
		return // New takes none that is neither
	}
	frame, err := words.Decode(dialect.Opcode(op), data) //nolint:gosec // 1 or 2
	if err != nil {
		s.broken(err)
		return
	}
	if frame != nil {
		s.do(frame)
	}
}

// recovered keeps a broken handler of one client from ending the others.
func (s *session) recovered() {
	if v := recover(); v != nil {
		s.owner.log.Error("a command handler panicked", "connection", s.id, "panic", v)
		s.refuse(bus.ErrInternal)
	}
}

// broken answers a frame that is no command. Before connect it ends the connection.
func (s *session) broken(err error) {
	e := rpc.FromError(err)
	if s.identity.Load() == nil || errors.Is(e, errWrongOpcode) {
		s.refuse(e)
		return
	}
	s.owner.metrics.refuse(e)
	s.replyError(0, e)
}

// Ended cleans up after the last read. err says why there is nothing more to read.
func (s *session) Ended(err error) {
	defer s.owner.sessions.Done()
	subs := s.shard.detach(s.subs)
	s.shard.remove(s)
	addresses := make([]bus.Address, len(subs))
	lost := s.lost(err)
	for i, sub := range subs {
		addresses[i] = sub.address
		s.owner.behind.Roster.Leave(sub.address, s.id, lost)
	}
	s.owner.tail.Release(addresses...)
	s.owner.limits.Leave(s.ip)
	reason := "client"
	if e := s.refused.Load(); e != nil {
		reason = e.Reason
	} else if !lost.IsZero() {
		reason = "lost"
	}
	s.owner.metrics.closed.WithLabelValues(reason).Inc()
	s.owner.behind.Events.Disconnected(s.id, reason, lost)
	s.owner.metrics.connections.Dec()
	s.owner.log.Debug("connection ended", "connection", s.id, "reason", reason)
	s.conn.Linger()
}

// Closing answers a client's close frame with the same code (RFC 6455, section 5.5.1), unless its dialect knows better.
func (s *session) Closing(code int, text string) (int, string) {
	if c, ok := s.dialect().(dialect.Closer); ok {
		return c.Closing(code, text)
	}
	if code == 1005 { // the frame had no code
		code = 0
	}
	return code, ""
}

// Ping says whether a client's ping is answered.
func (s *session) Ping() bool {
	if !s.limiter.Allow() {
		s.refuse(bus.ErrRateLimited.With("", map[string]string{"rule": "edge.commands_per_second"}))
		return false
	}
	return true
}

var _ wire.Handler = (*session)(nil)
