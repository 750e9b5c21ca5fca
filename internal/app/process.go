package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/gateway"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/telemetry"
	"github.com/trunkline/trunkline/services/admin"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/command"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/services/events"
	"github.com/trunkline/trunkline/services/publish"
	"github.com/trunkline/trunkline/web"
)

// process is what one process runs. It is built, listened for and run by Run alone.
type process struct {
	cfg     config.Config
	tel     *telemetry.Telemetry
	store   bus.Store // nil for a gateway alone
	started time.Time
	run     string // this life of the process

	devKey    string
	devAPIKey rpc.APIKey

	server  *rpc.Server       // nil without services
	revoked *revoked.Follower // nil without services
	auth    *auth.Server
	publish *publish.Server
	events  *events.Server
	edge    *edge.Edge
	asks    *hooks.Authorizer // nil for nobody
	conns   map[string]*grpc.ClientConn
	ready   []telemetry.Check

	http, internal *listener
	legacy         []*sharedListener
	older          map[string][]dialect.Dialect // of the older protocols, by name
	ends           []func()                     // called by close
}

// buildServices builds the gRPC server with the services of this process, and the connections to all of them.
func (h *process) buildServices(ctx context.Context, g *errgroup.Group) error {
	pipe := rpc.NewPipe()
	if err := h.dial(pipe); err != nil {
		return err
	}
	if err := h.dialAuthorizer(); err != nil {
		return err
	}
	cfg := h.cfg
	if !cfg.Runs(config.RoleAuth) && !cfg.Runs(config.RolePublish) {
		return nil
	}
	keys, err := cfg.Keys()
	if err != nil {
		return err
	}
	keys = append(keys, rpc.InternalKey(cfg.InternalKey.Reveal()))
	if cfg.Dev {
		keys = append(keys, h.devAPIKey)
	}
	secured, err := h.grpcTLS(g, ctx)
	if err != nil {
		return err
	}
	tokens, standing := rpc.NewTokens(authv1.NewAuthServiceClient(h.conns["auth"])), rpc.NewStanding()
	h.revoked = revoked.New(h.store, standing, tokens.Forget, h.tel.Log)
	h.server, err = rpc.NewServer(ctx, rpc.Config{
		Listen: cfg.GRPC.Listen, TLS: secured, MaxMessage: int(cfg.GRPC.MaxMessage),
		Reflection: cfg.GRPC.Reflection == "on" || cfg.GRPC.Reflection == "auto" && cfg.Dev,
		Auth: rpc.AuthConfig{
			Keys: keys, Tokens: tokens, Standing: standing,
			Certificates: cfg.GRPC.ClientScopes, DevLoopback: cfg.Dev,
		},
	}, pipe, h.tel.Log, h.tel.Registry)
	if err != nil {
		return explainListen("grpc.listen", err)
	}
	if cfg.Runs(config.RoleAuth) {
		if h.auth, err = h.buildAuth(ctx); err != nil {
			return err
		}
		h.auth.Register(h.server)
	}
	if cfg.Runs(config.RolePublish) {
		h.publish, err = publish.New(h.store, publish.Config{
			Namespaces: cfg.Namespaces(), MaxMessage: int(cfg.Publish.MaxMessage), IdempotencyWindow: cfg.Publish.IdempotencyWindow,
			MaxChannels: cfg.Channels.Created,
			Authorizer:  h.authorizer(), Log: h.tel.Log, Registry: h.tel.Registry,
		})
		if err != nil {
			return fmt.Errorf("build the publish service: %w", err)
		}
		h.publish.Register(h.server)
		if err := h.buildEvents(); err != nil {
			return err
		}
		admin.New(h.store, cfg.Namespaces()).Register(h.server)
		c := cfg.Legacy.Commands
		command.New(h.store, command.Config{Allow: c.Allow, Keys: c.Keys, Keep: c.Keep}).Register(h.server)
		for _, p := range spoken(cfg.Legacy) {
			if p.register != nil {
				p.register(h)
			}
		}
	}
	return nil
}

func (h *process) buildAuth(ctx context.Context) (*auth.Server, error) {
	a := h.cfg.Auth
	cfg := auth.Config{
		Issuer: a.Issuer, Audience: a.Audience, AccessTTL: a.AccessTTL, MaxTTL: a.MaxTTL, RefreshTTL: a.RefreshTTL,
		Algorithms: a.Algorithms, LostRevocations: auth.LostRevocations(a.Revocations.Lost),
	}
	for _, k := range a.Keys {
		pem := k.PrivateKey.Reveal()
		if pem == "" {
			pem = k.PublicKey
		}
		cfg.Keys = append(cfg.Keys, auth.KeyConfig{ID: k.ID, Algorithm: k.Algorithm, PEM: []byte(pem), Secret: []byte(k.Secret.Reveal()), Until: k.End()})
	}
	for _, t := range a.Trust {
		cfg.Trust = append(cfg.Trust, auth.Trust{
			Issuer: t.Issuer, Audience: t.Audience, JWKSURL: t.JWKSURL, Algorithms: t.Algorithms, TrustGrants: t.TrustGrants, Context: ctx,
			KeyAge: t.KeyAge, UserPrefix: t.UserPrefix, ShareUsers: t.ShareUsers, LostRevocations: auth.LostRevocations(t.Revocations.Lost),
		})
	}
	if h.cfg.Dev && len(cfg.Keys) == 0 {
		k, err := auth.NewKey("dev")
		if err != nil {
			return nil, err
		}
		cfg.Keys = append(cfg.Keys, k)
	}
	sessions, err := h.resolver()
	if err != nil {
		return nil, err
	}
	cfg.Sessions = sessions
	return auth.New(h.store, cfg)
}

// dial makes the connections to the services: those of the roles themselves carry the internal key, those
// of the gateway nothing but what its callers send.
func (h *process) dial(pipe *rpc.Pipe) error {
	cfg := h.cfg
	var secured *tls.Config
	if cfg.GRPC.CAFile != "" {
		pool, err := config.LoadPool(cfg.GRPC.CAFile)
		if err != nil {
			return err
		}
		secured = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	h.conns = map[string]*grpc.ClientConn{}
	for _, role := range []string{config.RoleAuth, config.RolePublish} {
		d := rpc.DialConfig{Pipe: pipe, TLS: secured}
		if !cfg.Runs(role) {
			d.Target, d.Pipe = cfg.Target(role), nil
		}
		if d.Target == "" && d.Pipe == nil {
			continue // check says which roles need it
		}
		open, err := rpc.Dial(d)
		if err != nil {
			return err
		}
		h.conns["open "+role] = open
		d.InternalKey = cfg.InternalKey.Reveal()
		if h.conns[role], err = rpc.Dial(d); err != nil {
			return err
		}
	}
	return nil
}

// buildFront builds the edge and the gateway, and says what each listener serves.
func (h *process) buildFront(ctx context.Context, g *errgroup.Group) error {
	cfg := h.cfg
	h.ready = h.checks(ctx)
	h.internal = newListener("internal.listen", cfg.Internal.Listen, telemetry.Internal(h.tel.Registry, telemetry.InternalConfig{
		Checks: h.ready, Profiling: cfg.Internal.Loopback(),
	}))
	var socket http.Handler
	if cfg.Runs(config.RoleEdge) {
		if err := h.buildEdge(); err != nil {
			return err
		}
		socket = h.edge.Handler(edge.Route{Dialects: []dialect.Dialect{native.JSON{}, native.Proto{}}})
	}
	var handler http.Handler
	switch {
	case cfg.Runs(config.RoleGateway):
		rest, err := gateway.New(ctx, gateway.Conns{
			Auth: h.conns["open auth"], Publish: h.conns["open publish"], Admin: h.conns["open publish"],
		}, gateway.Config{AllowedOrigins: cfg.HTTP.AllowedOrigins, DevKey: h.devKey, WebSocket: socket, Pages: h.pages()})
		if err != nil {
			return err
		}
		handler = rest
	case socket != nil:
		mux := http.NewServeMux()
		mux.Handle("/v1/ws", socket)
		handler = mux
	}
	h.buildLegacyListeners()
	if handler == nil {
		return nil
	}
	h.http = newListener("http.listen", cfg.HTTP.Listen, handler)
	if !cfg.Dev {
		h.http.lead = cfg.HTTP.DrainLead
	}
	if cfg.HTTP.TLS.CertFile != "" {
		c, err := newCertificate(cfg.HTTP.TLS, h.tel.Log)
		if err != nil {
			return err
		}
		h.http.tls = c.server()
		g.Go(func() error { return c.Run(ctx) })
	}
	return nil
}

// pages returns the handlers of the web pages by path.
func (h *process) pages() map[string]http.Handler {
	pages := web.Pages(h.cfg.Dev)
	if h.cfg.Dev {
		pages["/dev/token"] = devToken(authv1.NewAuthServiceClient(h.conns[config.RoleAuth]))
	}
	return pages
}

func (h *process) buildEdge() (err error) {
	e := h.cfg.Edge
	proxies, err := h.cfg.Proxies()
	if err != nil {
		return err
	}
	keys, err := e.Tickets.SealingKeys()
	if err != nil {
		return err
	}
	tickets := edge.Tickets{Life: e.Tickets.Life, Keys: keys}
	dialects, err := h.buildLegacyDialects()
	if err != nil {
		return err
	}
	dialects = append([]dialect.Dialect{native.JSON{}, native.Proto{}}, dialects...)
	h.edge, err = edge.New(h.store, edge.Conns{Auth: h.conns[config.RoleAuth], Publish: h.conns[config.RolePublish]}, dialects, edge.Config{
		Node: h.cfg.Node, Run: h.run, Namespaces: h.cfg.Namespaces(), AllowedOrigins: h.cfg.Origins(), DevLoopback: h.cfg.Dev, TrustedProxies: proxies,
		FrameSize: int64(e.FrameSize), QueueBytes: int(e.QueueBytes), ConnectTimeout: e.HandshakeTimeout, PingInterval: e.PingInterval,
		WriteTimeout: e.WriteTimeout, CloseTimeout: e.CloseTimeout, CallTimeout: e.CallTimeout, CommandsPerSecond: e.CommandsPerSecond, CommandBurst: e.CommandBurst,
		Subscriptions: e.ChannelsPerConnection, Connections: e.Connections, ConnectionsPerIP: e.ConnectionsPerIP,
		ConnectsInProgress: e.ConnectsInProgress, Tickets: tickets, Authorizer: h.authorizer(),
		DrainWindow: e.DrainWindow, DrainGrace: e.DrainGrace,
	}, h.tel.Log, h.tel.Registry)
	return err
}

// close frees what was built, the store last.
func (h *process) close() error {
	var errs []error
	for _, d := range append(h.listeners(), h.internal) {
		d.close()
	}
	if h.server != nil {
		h.server.Close()
	}
	for _, end := range h.ends {
		end()
	}
	for _, c := range h.conns {
		errs = append(errs, c.Close())
	}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}
