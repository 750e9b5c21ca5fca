package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/bus"
)

// maxDeadline bounds what a caller may ask for in a unary call.
const maxDeadline = time.Minute

type metrics struct {
	server   *grpcprom.ServerMetrics
	unary    grpc.UnaryServerInterceptor
	stream   grpc.StreamServerInterceptor
	refusals *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		server: grpcprom.NewServerMetrics(),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_grpc_refusals_total", Help: "Calls that ended with an error, by method and reason.",
		}, []string{"method", "reason"}),
	}
	m.unary = m.server.UnaryServerInterceptor()
	m.stream = m.server.StreamServerInterceptor()
	if reg != nil {
		reg.MustRegister(m.server, m.refusals)
	}
	return m
}

type interceptors struct {
	auth     *authenticator
	log      *slog.Logger
	deadline time.Duration
	metrics  *metrics
	open     atomic.Int64 // calls under way
}

func (in *interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	in.open.Add(1)
	defer in.open.Add(-1)
	limit := in.deadline
	if d, ok := ctx.Deadline(); ok && time.Until(d) < maxDeadline {
		limit = 0
	} else if ok {
		limit = maxDeadline
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return in.metrics.unary(ctx, req, info, func(ctx context.Context, req any) (resp any, err error) {
		defer func() { err = in.finish(ctx, info.FullMethod, recover(), err) }()
		ctx, err = in.auth.admit(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	})
}

func (in *interceptors) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	in.open.Add(1)
	defer in.open.Add(-1)
	return in.metrics.stream(srv, ss, info, func(srv any, ss grpc.ServerStream) (err error) {
		ctx := ss.Context()
		method := info.FullMethod
		_, known := RuleFor(method)
		if !known {
			method = "unknown" // a label of the metrics, and not a caller's word
		}
		defer func() { err = in.finish(ctx, method, recover(), err) }()
		if !known { // methods that nobody registered come here, as streams
			return bus.ErrMethodUnknown
		}
		ctx, err = in.auth.admit(ctx, method)
		if err != nil {
			return err
		}
		return handler(srv, &streamWithCaller{ServerStream: ss, ctx: ctx})
	})
}

// unknown answers methods that nobody registered.
func (in *interceptors) unknown(any, grpc.ServerStream) error {
	return Status(bus.ErrMethodUnknown, "").Err()
}

// streamWithCaller is a stream whose context carries the caller.
type streamWithCaller struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context with the caller.
func (s *streamWithCaller) Context() context.Context { return s.ctx }

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
	e := refusalOf(err)
	id := requestID(ctx)
	in.metrics.refusals.WithLabelValues(method, e.Reason).Inc()
	level := slog.LevelDebug
	if c := Code(e.Reason); c == codes.Internal || c == codes.Unavailable {
		level = slog.LevelWarn
	}
	in.log.Log(ctx, level, "call refused", "method", method, "reason", e.Reason,
		"detail", e.Detail(), "caller", CallerFrom(ctx).Name, "request_id", id)
	return Status(e, id).Err()
}

// RequestIDHeader carries the id of a request from the gateway, or from a caller who makes one.
const RequestIDHeader = "x-request-id"

// requestID returns the caller's id when it is a sane one, and a new one otherwise.
func requestID(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, RequestIDHeader); len(v) == 1 && SaneRequestID(v[0]) {
		return v[0]
	}
	return uuid.NewString()
}

// SaneRequestID says whether an id may be logged and returned as it came: 1 to 64 of letters, digits, - and _.
func SaneRequestID(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}
