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
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/access"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/fan"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// session is the life of one connection: what stands behind its socket, and behind its place in the hub. At any time at most one
// goroutine has it: a worker while something is being read or done, and nobody while its connection is parked. Only that
// goroutine touches what is not atomic or guarded by the shard.
type session struct {
	*fan.Subscriber
	edge    *Edge
	subs    []*fan.Subscription
	limiter rate.Limiter
	seat    access.Seat
	single  bool // in rosters, a client of its own
	// onlyFollow leaves the identity's own addresses out.
	onlyFollow bool
	limit      int        // of subscriptions, besides the own addresses
	place      *bus.Place // what the authorizer is told of it; nil for the dialect's name alone

	renews  atomic.Int64 // when the next ticket is due, in Unix seconds; 0 for never
	refused atomic.Pointer[bus.Error]
	stale   atomic.Bool // subs has some that were ended

	age uint32 // seconds since the last ping, or since the accept; guarded by the shard
}

var (
	_ wire.Handler = (*session)(nil)
	_ fan.Session  = (*session)(nil)
)

// errNotUTF8 is a text frame that is no text (RFC 6455, section 8.1).
var errNotUTF8 = bus.ErrProtocol.With("a text frame must be UTF-8", map[string]string{"close": "1007"})

// errCrowded is for the client that reads most slowly of those that speak older protocols.
var errCrowded = bus.ErrSlowConsumer.With("too much waits for the clients of older protocols, and the most for this one",
	map[string]string{"rule": "legacy.queue_bytes"})

// newSession returns the session of a connection that has not been answered yet.
func (e *Edge) newSession(slot int, seat access.Seat) *session {
	s := &session{edge: e, seat: seat, limit: e.cfg.Subscriptions, limiter: *rate.NewLimiter(rate.Limit(e.cfg.CommandsPerSecond), e.cfg.CommandBurst)}
	s.Subscriber = e.hub.Subscriber(s, e.sockets.NewConn(s), slot)
	return s
}

// Receive does what a message says.
func (s *session) Receive(op int, data []byte) {
	defer s.recovered(data)
	if s.refused.Load() != nil {
		return // the client's close is waited for
	}
	if dialect.Opcode(op) == dialect.Text && !utf8.Valid(data) {
		s.refuseCommand(s.number(data), errNotUTF8)
		return
	}
	if !s.paced(data) {
		return
	}
	if s.Conn.Expired(time.Now().UnixMilli()) { // this process may have stood still
		s.refuseCommand(s.number(data), bus.ErrTokenExpired)
		return
	}
	s.forgetEnded()
	if s.Talk != nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
		defer cancel()
		s.Talk.Receive(ctx, dialect.Opcode(op), data)
		return
	}
	words, ok := s.Dialect().(dialect.Stateless)
	if !ok {
		return // New takes none that is neither
	}
	frame, err := words.Decode(dialect.Opcode(op), data)
	if err != nil {
		s.broken(data, err)
		return
	}
	if frame != nil {
		s.do(frame)
	}
}

// recovered keeps a broken handler of one client from ending the others. The data is the frame that it had, if any.
func (s *session) recovered(data []byte) {
	if v := recover(); v != nil {
		s.edge.log.Error("a command handler panicked", "connection", s.ID, "panic", v)
		s.refuseCommand(s.number(data), bus.ErrInternal)
	}
}

// number is the client's number of the command in a frame; 0 where there is none that can be read.
func (s *session) number(data []byte) uint32 {
	words, ok := s.Dialect().(dialect.Stateless)
	if !ok || len(data) == 0 {
		return 0
	}
	return words.Number(data)
}

// broken answers a frame that is no command. Before connect it ends the connection.
func (s *session) broken(data []byte, err error) {
	e := rpc.FromError(err)
	if s.Identity() == nil || errors.Is(e, dialect.ErrWrongOpcode) {
		s.refuseCommand(s.number(data), e)
		return
	}
	s.edge.metrics.refuse(e)
	s.replyError(s.number(data), e)
}

// replyError answers a command with a refusal.
func (s *session) replyError(id uint32, err error) { s.Reply(refusalFrame(id, err)) }

// refusalFrame answers a command with a refusal; with id 0 it is an event.
func refusalFrame(id uint32, err error) *edgev1.ServerFrame {
	return &edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Error{Error: rpc.ErrorProto(err)}}
}

// Ping says whether a client's ping is answered.
func (s *session) Ping() bool {
	return s.paced(nil)
}

// Flooded ends a session whose client sends too many frames that end no message and carry next to nothing.
func (s *session) Flooded() {
	why := bus.ErrRateLimited.With("too many pings, pongs or fragments of less than 256 bytes", map[string]string{"rule": "edge.frames_per_second"})
	s.edge.metrics.refuse(why)
	s.Refuse(why)
}

// longestPause is how long a session that is over may stay in a pause.
const longestPause = 250 * time.Millisecond

// paced returns true when the client may be read on. One that sends faster than it may is refused where its protocol has words for
// that, and the client sends again. Any other is read more slowly: what it sends waits in its own TCP connection, and nothing
// of it is lost. The data is the frame that came, if any.
func (s *session) paced(data []byte) bool {
	if s.limiter.Allow() {
		return true
	}
	if _, ok := s.Dialect().(dialect.Strict); ok {
		why := bus.ErrRateLimited.With("", map[string]string{"rule": "edge.commands_per_second"})
		s.edge.metrics.refuse(why)
		s.refuseCommand(s.number(data), why)
		return false
	}
	s.edge.metrics.paused.WithLabelValues(s.Dialect().Name()).Inc()
	for rest := s.limiter.Reserve().Delay(); rest > 0 && s.refused.Load() == nil && !s.Conn.Closed(); rest -= longestPause {
		<-time.After(min(rest, longestPause))
	}
	return s.refused.Load() == nil
}

// Refuse ends the session with a reason: an error event, then the close frame. The first reason counts.
func (s *session) Refuse(e *bus.Error) { s.refuseAfter(nil, e) }

// refuseCommand is Refuse because of a command, which is answered first. A client that waits for its number hears of the refusal
// there, and one that waits for the end of the connection in the event.
func (s *session) refuseCommand(id uint32, e *bus.Error) {
	var answer []byte
	if id != 0 {
		answer = s.EventFrame(refusalFrame(id, e))
	}
	s.refuseAfter(answer, e)
}

// refuseAfter is Refuse with frames that come before the error event, and are queued with the same guarantee.
func (s *session) refuseAfter(first []byte, e *bus.Error) {
	if !s.refused.CompareAndSwap(nil, e) {
		return
	}
	last := append(slices.Clip(first), s.EventFrame(refusalFrame(0, e))...)
	code, text := s.Dialect().Close(e)
	s.Conn.Finish(append(slices.Clip(last), wire.CloseFrame(code, text)...))
	s.hasten(e)
}

// sentAwayWait is how long a client has that is not expected to answer a close frame.
const sentAwayWait = 500 * time.Millisecond

// hasten cuts the wait for the answer to a close frame short where the client is not expected to answer. Until the wait is
// over, others are told that the client is there.
func (s *session) hasten(e *bus.Error) {
	switch e.Reason {
	case bus.ErrTokenRevoked.Reason, bus.ErrTokenExpired.Reason, bus.ErrIdleTimeout.Reason:
		_ = s.Conn.SetReadDeadline(time.Now().Add(sentAwayWait)) // the last frames are waited for after that
	}
}

// Stop ends a session to which nothing can be written any more.
func (s *session) Stop(why error) {
	switch {
	case errors.Is(why, wire.ErrExpired):
		s.Refuse(bus.ErrTokenExpired)
	case errors.Is(why, wire.ErrCrowded):
		s.Refuse(errCrowded)
	default:
		s.Slow()
	}
}

// Closing answers a client's close frame with the same code (RFC 6455, section 5.5.1), unless its dialect knows better.
func (s *session) Closing(code int, text string) (int, string) {
	if c, ok := s.Dialect().(dialect.Closer); ok {
		return c.Closing(code, text)
	}
	if code == 1005 { // the frame had no code
		code = 0
	}
	return code, ""
}

// Ended cleans up after the last read. err says why there is nothing more to read.
func (s *session) Ended(err error) {
	e := s.edge
	defer s.seat.Free()
	subs := s.Detach(s.subs)
	s.Exit()
	addresses := make([]bus.Address, len(subs))
	lost := s.lost(err)
	for i, sub := range subs {
		addresses[i] = sub.Address()
		s.unlist(sub.Address(), lost)
	}
	e.tail.Release(addresses...)
	s.seat.Leave()
	reason := "client"
	if why := s.refused.Load(); why != nil {
		reason = why.Reason
	} else if !lost.IsZero() {
		reason = "lost"
	}
	e.metrics.closed.WithLabelValues(reason).Inc()
	e.behind.Events.Disconnected(s.ID, reason, lost)
	e.metrics.connections.Dec()
	e.metrics.spoken.WithLabelValues(s.Dialect().Name()).Dec()
	e.log.Debug("connection ended", "connection", s.ID, "reason", reason)
	s.Conn.Linger()
}

// lost returns when the session's connection was lost, if its client is likely to come back after such an end. Either the
// connection broke, or the close code asks the client to come back. The time is zero for a client that left or was sent away.
func (s *session) lost(err error) time.Time {
	now := time.Now()
	if s.Talk != nil {
		return time.Time{} // older protocols know no return
	}
	if e := s.refused.Load(); e != nil {
		switch {
		case refusal.OfClose(dialect.CloseCode(e)) != refusal.Again:
			return time.Time{}
		case e.Reason == bus.ErrIdleTimeout.Reason:
			return now.Add(-s.edge.cfg.PingInterval) // nothing was heard of it for as long
		}
		return now
	}
	if wire.Left(err) {
		return time.Time{}
	}
	return now
}

// standing is a session as it stands on its token.
type standing struct{ session *session }

var _ revoked.Call = standing{}

// Identity is who the session is now.
func (c standing) Identity() *bus.Identity { return c.session.Identity() }

// End ends the session.
func (c standing) End(why *bus.Error) { c.session.Refuse(why) }

// places says where own addresses stand; with kept, only of those where something is kept.
func places(own []*request, kept bool) []*edgev1.OwnAddress {
	var all []*edgev1.OwnAddress
	for _, req := range own {
		if !kept || !req.at.IsZero() {
			all = append(all, &edgev1.OwnAddress{Address: req.sub.Address().String(), Position: convert.PositionProto(req.at)})
		}
	}
	return all
}

// abandon leaves everything that is followed.
func (s *session) abandon() {
	for len(s.subs) > 0 {
		s.leave(s.subs[len(s.subs)-1])
	}
}

// become gives the session an identity that was valid at the time asked. From then on a revocation finds it. It returns false when
// there was one before, which has ended the session.
func (s *session) become(ctx context.Context, who *bus.Identity, asked time.Time) bool {
	s.SetIdentity(who)
	s.Conn.ExpireAt(who.Expires)
	s.edge.guard.Revocations.Opened(ctx, standing{s}, asked)
	return s.refused.Load() == nil
}
