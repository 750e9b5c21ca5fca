package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rpc/beats"
)

// maxDeadline bounds what a caller may ask for in a unary call.
const maxDeadline = time.Minute

type interceptors struct {
	auth     *authenticator
	log      *slog.Logger
	deadline time.Duration
	metrics  *metrics
	streams  *occupancy.Counter
	beats    *beats.Beats
	warned   warned
	open     atomic.Int64 // calls under way
}

func (in *interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	in.open.Add(1)
	defer in.open.Add(-1)
	counted := in.metrics.of("unary", info.FullMethod)
	counted.started.Inc()
	counted.received.Inc()
	call := &callContext{Context: ctx, deadline: in.until(ctx)}
	defer call.end()
	resp, err := in.handle(call, req, info.FullMethod, handler)
	in.metrics.end(counted, err)
	if err == nil {
		counted.sent.Inc()
	}
	return resp, err
}

// until is when a unary call ends at the latest.
func (in *interceptors) until(ctx context.Context) time.Time {
	now := time.Now()
	at, asked := ctx.Deadline()
	if !asked {
		return now.Add(in.deadline)
	}
	if latest := now.Add(maxDeadline); latest.Before(at) {
		return latest
	}
	return early(now, at)
}

// handle admits a call and carries it out.
func (in *interceptors) handle(call *callContext, req any, method string, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() { err = in.finish(call, method, recover(), err) }()
	if call.caller, err = in.auth.authenticate(call, method); err != nil {
		return nil, err
	}
	if resp, err = handler(call, req); err != nil && errors.Is(call.Err(), context.DeadlineExceeded) {
		err = bus.ErrDeadlineExceeded.Wrap(err) // and not what the handler made of it
	}
	return resp, err
}

func (in *interceptors) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	in.open.Add(1)
	defer in.open.Add(-1)
	method := info.FullMethod
	_, known := RuleFor(method)
	if !known {
		method = "unknown" // a label of the metrics, and not a caller's word
	}
	counted := in.metrics.of(kindOf(info), method)
	counted.started.Inc()
	err := in.handleStream(&streamWithCaller{ServerStream: ss, ctx: ss.Context(), counted: counted}, srv, method, in.beating(method, handler))
	in.metrics.end(counted, err)
	return err
}

// handleStream admits a stream and carries it out.
func (in *interceptors) handleStream(ss *streamWithCaller, srv any, method string, handler grpc.StreamHandler) (err error) {
	defer func() { err = in.finish(ss.ctx, method, recover(), err) }()
	if method == "unknown" { // methods that nobody registered come here, as streams
		return bus.ErrMethodUnknown
	}
	began := time.Now()
	if at, ok := ss.ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ss.ctx, cancel = context.WithDeadline(ss.ctx, early(began, at))
		defer cancel()
		inTime := ss.ctx
		defer func() {
			if err != nil && errors.Is(inTime.Err(), context.DeadlineExceeded) {
				err = bus.ErrDeadlineExceeded.Wrap(err) // and not what the handler made of it
			}
		}()
	}
	caller, err := in.auth.authenticate(ss.ctx, method)
	if err != nil {
		return err
	}
	holder := in.auth.holder(ss.ctx, caller)
	if err := in.streams.Enter(holder); err != nil {
		return err
	}
	defer in.streams.Leave(holder)
	in.metrics.streams.Inc()
	defer in.metrics.streams.Dec()
	if caller == nil {
		return handler(srv, ss)
	}
	ss.ctx = WithCaller(ss.ctx, caller)
	if caller.Identity == nil || caller.unknown {
		return handler(srv, ss)
	}
	var leave func()
	ss.ctx, leave = in.auth.standing.enter(ss.ctx, caller.Identity, began)
	defer leave()
	ss.identity = caller.Identity
	left := max(time.Until(caller.Identity.Expires), 0)
	told := metadata.Join(metadata.Pairs(TokenLeftHeader, strconv.FormatInt(left.Milliseconds(), 10)), caller.headers())
	if err := ss.SetHeader(told); err != nil {
		return err
	}
	err = handler(srv, ss)
	if why := ended(ss.ctx, caller.Identity); why != nil && err != nil {
		return why // and not what the handler made of it
	}
	return err
}

// beating returns a handler whose streams are not silent for long.
func (in *interceptors) beating(method string, handler grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) error {
		ss, ok := stream.(*streamWithCaller)
		if !ok {
			return handler(srv, stream)
		}
		ss.beat = in.beats.Begin(method, ss.send)
		defer ss.beat.End()
		ss.ctx = context.WithValue(ss.ctx, beatKey{}, ss.beat)
		return handler(srv, ss)
	}
}

// beatKey is the key of the heartbeats of a stream in its context.
type beatKey struct{}

// SetHeartbeat sets what the heartbeats of a stream say from now on. The message is not changed afterwards.
func SetHeartbeat(ctx context.Context, m proto.Message) {
	if beat, ok := ctx.Value(beatKey{}).(*beats.Beat); ok {
		beat.Say(m)
	}
}

// unknown answers methods that nobody registered.
func (in *interceptors) unknown(any, grpc.ServerStream) error {
	return Status(bus.ErrMethodUnknown, "").Err()
}

// streamWithCaller is a stream whose context carries the caller, and whose messages are counted.
type streamWithCaller struct {
	grpc.ServerStream
	ctx      context.Context //nolint:containedctx // a stream is asked for its context
	counted  *counters
	identity *bus.Identity // of a client; nil for everybody else
	beat     *beats.Beat   // set before the handler is called
}

// SendHeader tells the client that the stream is open.
func (s *streamWithCaller) SendHeader(md metadata.MD) error {
	s.beat.Lock()
	defer s.beat.Unlock()
	return s.ServerStream.SendHeader(md)
}

// SendMsg sends a message of the handler.
func (s *streamWithCaller) SendMsg(m any) error {
	s.beat.Lock()
	defer s.beat.Unlock()
	return s.send(m)
}

// send sends a message and counts it. Nothing is sent to a client whose token has ended.
func (s *streamWithCaller) send(m any) error {
	if err := ended(s.ctx, s.identity); err != nil {
		return err
	}
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.counted.sent.Inc()
	}
	return err
}

// RecvMsg receives a message and counts it. What comes from a client whose token has ended is not taken.
func (s *streamWithCaller) RecvMsg(m any) error {
	err := receive(m, s.ServerStream.RecvMsg)
	if err == nil {
		err = ended(s.ctx, s.identity)
	}
	if err == nil {
		s.counted.received.Inc()
	}
	return err
}

// Context returns the context with the caller.
func (s *streamWithCaller) Context() context.Context { return s.ctx }

// ours begins the names of all methods of our own services.
const ours = "/trunkline."

// finish turns what a handler left behind into the status that the caller gets, and notes failures
// without secrets or payloads.
func (in *interceptors) finish(ctx context.Context, method string, panicked any, err error) error {
	if panicked != nil {
		in.log.Error("a handler panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		err = bus.ErrInternal
	}
	if err == nil {
		return nil
	}
	id := requestID(ctx)
	if !strings.HasPrefix(method, ours) {
		if s := foreign(err, id); s != nil {
			in.log.Debug("call refused", "method", method, "code", s.Code().String(), "detail", s.Message(), "request_id", id)
			return s.Err()
		}
	}
	e := refusalOf(err)
	in.metrics.refusals.WithLabelValues(method, e.Reason).Inc()
	level := slog.LevelDebug
	if c := Code(e.Reason); c == codes.Internal || c == codes.Unavailable && in.warned.first(e.Reason) {
		level = slog.LevelWarn
	}
	in.log.Log(ctx, level, "call refused", "method", method, "reason", e.Reason,
		"detail", e.Detail(), "caller", CallerFrom(ctx).Name, "request_id", id)
	return Status(e, id).Err()
}

// warnEvery is how often a refusal is a warning that callers meet as often as they call: what is behind does not answer.
const warnEvery = 10 * time.Second

// warned is when there was a warning of each reason. Reasons are a closed set.
type warned struct {
	mu sync.Mutex
	at map[string]time.Time
}

// first says whether it is time for a warning.
func (w *warned) first(reason string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if at, ok := w.at[reason]; ok && now.Sub(at) < warnEvery || !refusal.Known(reason) {
		return false
	}
	if w.at == nil {
		w.at = make(map[string]time.Time)
	}
	w.at[reason] = now
	return true
}

// TokenLeftHeader says how many ms the token of a stream lives on when the stream begins. Code that hands the stream on checks it
// before each message: what was sent in time may have waited there.
const TokenLeftHeader = "x-token-left"

// RequestIDHeader carries the id of a request from the gateway, or from a caller who makes one.
const RequestIDHeader = "x-request-id"

// requestID returns the caller's id when it is a sane one, and a new one otherwise.
func requestID(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, RequestIDHeader); len(v) == 1 && requestid.Sane(v[0]) {
		return v[0]
	}
	return uuid.NewString()
}
