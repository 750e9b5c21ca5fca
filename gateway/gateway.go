// Package gateway is REST: it turns HTTP requests into gRPC calls by the routes of
// proto/gateway.yaml, and answers in JSON. It decides nothing: the services say who may call, and what a right request is.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/origin"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
)

// Conns are the connections to the services. They must send no credentials of their own: every
// call carries those of its caller, or none.
type Conns struct {
	Auth, Publish, Admin grpc.ClientConnInterface
}

// Config tunes a gateway. The zero value serves the API alone, to its own origin.
type Config struct {
	// MaxBody is the largest request body, in bytes; 1 MiB by default.
	MaxBody int64
	// BodyTimeout is how long a body may take to arrive; 10 s by default.
	BodyTimeout time.Duration
	// Timeout is how long a unary call may take; 10 s by default. A caller shortens or stretches it
	// with Grpc-Timeout, up to 60 s.
	Timeout time.Duration
	// AllowedOrigins are the origins that pages may call from besides this server's own, such as
	// https://shop.example; none by default.
	AllowedOrigins []string
	// DevKey is an API key lent to loopback callers that send no credentials. Development only.
	DevKey string
	// Stream is asked before a stream is opened for a request, and left when it has ended; nil for no limit.
	Stream func(*http.Request) (leave func(), err error)
	// WebSocket serves /v1/ws; nil for a gateway without an edge.
	WebSocket http.Handler
	// Pages are further handlers by exact path, such as the welcome page.
	Pages map[string]http.Handler
	// Log hears of events that cannot be encoded; discarded by default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = 10 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Stream == nil {
		c.Stream = func(*http.Request) (func(), error) { return func() {}, nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// New returns the handler of the public HTTP port. Mount it at the root, not behind http.ServeMux,
// which redirects paths that it should refuse. Streams end when ctx does. It is safe for concurrent
// use and starts no goroutine of its own.
func New(ctx context.Context, conns Conns, cfg Config) (http.Handler, error) {
	if conns.Auth == nil || conns.Publish == nil || conns.Admin == nil {
		return nil, fmt.Errorf("gateway: a connection is missing")
	}
	origins, err := origin.NewList(cfg.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("http.allowed_origins: %w", err)
	}
	if origins.Every() {
		return nil, fmt.Errorf("http.allowed_origins: %q is for all; name the origins", origin.Every)
	}
	g := &gateway{cfg: cfg.withDefaults(), ctx: ctx, publish: publishv1.NewPublishServiceClient(conns.Publish), events: hooksv1.NewEventServiceClient(conns.Publish)}
	g.unencodable.log = g.cfg.Log
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, codec{}),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllCharacters),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithWriteContentLength(),
		runtime.WithIncomingHeaderMatcher(inward),
		runtime.WithOutgoingHeaderMatcher(nothing),
		runtime.WithOutgoingTrailerMatcher(nothing),
		runtime.WithErrorHandler(failed),
		runtime.WithRoutingErrorHandler(unrouted),
		runtime.WithForwardResponseOption(replayed),
		runtime.WithForwardResponseOption(unread),
	)
	if err := errors.Join(
		authv1.RegisterAuthServiceHandlerClient(ctx, g.mux, authv1.NewAuthServiceClient(conns.Auth)),
		publishv1.RegisterPublishServiceHandlerClient(ctx, g.mux, g.publish),
		publishv1.RegisterChannelServiceHandlerClient(ctx, g.mux, publishv1.NewChannelServiceClient(conns.Publish)),
		publishv1.RegisterInboxServiceHandlerClient(ctx, g.mux, publishv1.NewInboxServiceClient(conns.Publish)),
		publishv1.RegisterStateServiceHandlerClient(ctx, g.mux, publishv1.NewStateServiceClient(conns.Publish)),
		hooksv1.RegisterEventServiceHandlerClient(ctx, g.mux, g.events),
		adminv1.RegisterAdminServiceHandlerClient(ctx, g.mux, adminv1.NewAdminServiceClient(conns.Admin)),
	); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.api = http.HandlerFunc(g.call)
	if !origins.Empty() {
		g.api = crossOrigin(origins).Handler(g.api)
	}
	return g, nil
}

type gateway struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // ends the streams
	publish publishv1.PublishServiceClient
	events  hooksv1.EventServiceClient
	mux     *runtime.ServeMux
	api     http.Handler

	unencodable unencodable
}

// ServeHTTP gives every answer its request id and safe headers, and finds its room.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestid.Of(w, r)
	r.Header.Set(requestid.Header, id)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	path := r.URL.Path
	page, isPage := g.cfg.Pages[path]
	switch {
	case path == "/v1/ws" && g.cfg.WebSocket != nil:
		g.cfg.WebSocket.ServeHTTP(w, r)
	case isPage:
		page.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/v1/") || path == "/.well-known/jwks.json":
		h.Set("Cache-Control", "no-store")
		g.api.ServeHTTP(w, r)
	case path == "/openapi.json" || path == "/docs" || strings.HasPrefix(path, "/docs/"):
		serveDocs(w, r)
	default:
		rest.NoRoute("/docs lists them").Write(w, id)
	}
}

// failed answers a call that ended with an error.
func failed(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if b, ok := r.Body.(*body); ok && b.fault != nil {
		err = b.fault
	}
	rest.FromError(err).Write(w, r.Header.Get(requestid.Header))
}

// unrouted answers a request that no route takes.
func unrouted(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	e := rest.NoRoute("/docs lists them")
	switch code {
	case http.StatusMethodNotAllowed:
		e = notAllowed(r.URL.EscapedPath()) // an encoded colon begins no verb
	case http.StatusBadRequest:
		e = rest.AddressInvalid("the path is not well formed")
	}
	e.Write(w, r.Header.Get(requestid.Header))
}

// replayed tells a caller by header that it had this answer before.
func replayed(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if p, ok := m.(*publishv1.PublishResponse); ok && p.GetDuplicate() {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	if _, ok := m.(*authv1.GetKeySetResponse); ok {
		w.Header().Set("Cache-Control", "public, max-age=60")
	}
	return nil
}
