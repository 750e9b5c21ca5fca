package app

import (
	"context"
	"fmt"
	"net/http"
	"syscall"

	"github.com/trunkline/trunkline/gateway"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/telemetry"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/web"
)

// ownDialects are what /v1/ws speaks.
func ownDialects() []dialect.Dialect { return []dialect.Dialect{native.JSON{}, native.Proto{}} }

// newEdge builds the edge, which speaks our own dialects and the older ones; nil without the role.
func newEdge(b base, life string, protocols []older) (*edge.Edge, error) {
	if !b.cfg.Runs(config.RoleEdge) {
		return nil, nil
	}
	e := b.cfg.Edge
	keys, err := e.Tickets.SealingKeys()
	if err != nil {
		return nil, err
	}
	dialects := ownDialects()
	for _, p := range protocols {
		dialects = append(dialects, p.dialect)
	}
	return edge.New(b.store, edge.Conns{Auth: b.conns.auth, Publish: b.conns.publish}, dialects, edge.Config{
		Node: b.cfg.Node, Life: life, Namespaces: b.cfg.Namespaces(),
		AllowedOrigins: b.cfg.Origins(), DevLoopback: b.cfg.Dev, Peers: b.peers,
		FrameSize: int64(e.FrameSize), QueueBytes: int(e.QueueBytes), DialectQueueBytes: int64(b.cfg.Legacy.QueueBytes), ConnectTimeout: e.HandshakeTimeout, PingInterval: e.PingInterval,
		WriteTimeout: e.WriteTimeout, CloseTimeout: e.CloseTimeout, CallTimeout: e.CallTimeout,
		CommandsPerSecond: e.CommandsPerSecond, CommandBurst: e.CommandBurst, Subscriptions: e.ChannelsPerConnection,
		Connections: e.Connections, ConnectionsPerIP: e.ConnectionsPerIP,
		ConnectionsPerToken: e.ConnectionsPerToken, ConnectionsPerUser: e.ConnectionsPerUser,
		FramesPerSecond: e.FramesPerSecond, MessageTimeout: e.MessageTimeout,
		ConnectsInProgress: e.ConnectsInProgress,
		Tickets:            edge.Tickets{Life: e.Tickets.Life, Keys: keys}, Authorizer: b.authorizer, Revocations: b.revoked, Charging: b.charging,
		DrainWindow: e.DrainWindow, DrainGrace: e.DrainGrace,
	}, b.tel.Log, b.tel.Registry)
}

// newHandler makes what the HTTP port serves: the gateway, the sockets of the edge, or both; nil without either role.
func newHandler(ctx context.Context, b base, sockets *edge.Edge, devKey string) (http.Handler, error) {
	var own http.Handler
	if sockets != nil {
		own = sockets.Handler(edge.Route{Dialects: ownDialects()})
	}
	switch {
	case b.cfg.Runs(config.RoleGateway):
		pages := web.Pages(b.cfg.Dev)
		if b.cfg.Dev {
			pages["/dev/token"] = devToken(authv1.NewAuthServiceClient(b.conns.auth))
		}
		handler, err := gateway.New(ctx, gateway.Conns{
			Auth: b.conns.openAuth, Publish: b.conns.openPublish, Admin: b.conns.openPublish,
		}, gateway.Config{
			MaxBody:        gateway.BodyLimit(int64(b.cfg.Publish.MaxMessage), int64(b.cfg.GRPC.MaxMessage)),
			AllowedOrigins: b.cfg.HTTP.AllowedOrigins, DevKey: devKey, WebSocket: own, Pages: pages, Stream: b.streamOf(), Log: b.tel.Log,
		})
		if err != nil {
			return nil, &config.About{Key: "http.allowed_origins", Err: err}
		}
		return handler, nil
	case own != nil:
		mux := http.NewServeMux()
		mux.Handle("/v1/ws", own)
		return mux, nil
	}
	return nil, nil
}

// streamOf returns what counts the streams of the gateway by the address that they come from.
func (b base) streamOf() func(*http.Request) (func(), error) {
	return func(r *http.Request) (func(), error) {
		h := occupancy.Opener{IP: b.peers.GroupOf(r)}
		if err := b.streams.Enter(h); err != nil {
			return nil, rpc.Status(err, "").Err()
		}
		return func() { b.streams.Leave(h) }, nil
	}
}

// naming hands requests on with the network address that they come from, for the calls that are made for them.
func (b base) naming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(rpc.WithPeer(r.Context(), b.peers.GroupOf(r))))
	})
}

// newClientListener makes the HTTP listener of clients; nil where there is nothing to serve.
func newClientListener(b base, handler http.Handler) (*listener, error) {
	if handler == nil {
		return nil, nil
	}
	l := newListener("http.listen", b.cfg.HTTP.Listen, b.naming(handler), b.cfg.HTTP.IdleTimeout)
	l.wrap = b.proxied("http.listen")
	if b.cfg.HTTP.TLS.CertFile != "" {
		c, err := newCertificate(b.cfg.HTTP.TLS, b.tel.Log)
		if err != nil {
			return nil, &config.About{Key: "http.tls.cert_file", Err: err}
		}
		l.certificate = c
	}
	return l, nil
}

// newInternalListener makes the listener of metrics, health and profiles.
func newInternalListener(b base, ready []telemetry.Check) *listener {
	handler := telemetry.Internal(b.tel.Registry, telemetry.InternalConfig{Checks: ready, Profiling: b.cfg.Internal.Loopback()})
	return newListener("internal.listen", b.cfg.Internal.Listen, handler, b.cfg.HTTP.IdleTimeout)
}

// spareFiles is how many open files a process needs besides its connections.
const spareFiles = 512

// checkFiles refuses a limit of connections that the system's limit of open files would break.
func checkFiles(cfg config.Config) error {
	var limit syscall.Rlimit
	if !cfg.Runs(config.RoleEdge) || cfg.Edge.Connections == 0 || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil //nolint:nilerr // a limit that nobody knows cannot be checked
	}
	if need := uint64(cfg.Edge.Connections) + spareFiles; limit.Cur < need {
		return fmt.Errorf("edge.connections: %d need %d open files, and this process may have %d; raise the limit (ulimit -n %d) or lower edge.connections",
			cfg.Edge.Connections, need, limit.Cur, need)
	}
	return nil
}
