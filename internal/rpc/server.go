// Package rpc is the gRPC plumbing that every role shares. It has the server with its interceptors, the connection between roles,
// who may call what, and the one translation between refusals and statuses.
package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/peer"
	"github.com/trunkline/trunkline/internal/rpc/beats"
)

// streamWorkers is how many goroutines wait for calls: their stacks have grown already, and growing them again costs each call. Calls beyond
// them get goroutines of their own.
const streamWorkers = 128

// window is how many bytes a connection may have under way to us. With a fixed one gRPC sends no pings to measure the delay,
// which each publish would pay for, and a caller cannot make it grow.
const window = 1 << 20

// DefaultMaxMessage is the largest message that a Server receives, in bytes, unless another size is configured.
const DefaultMaxMessage = 4 << 20

// DefaultHeartbeat is how long a stream is silent before it says that it is alive, unless another time is configured.
const DefaultHeartbeat = 15 * time.Second

// Config tunes a Server. The zero value serves the pipe alone, with the defaults.
type Config struct {
	// Listen is the TCP address; empty for none.
	Listen string
	// TLS secures the TCP listener; nil for plain text. It carries the client CA where callers
	// authenticate by certificate.
	TLS *tls.Config
	// Auth says who may call.
	Auth AuthConfig
	// Reflection serves both versions of gRPC reflection.
	Reflection bool
	// MaxMessage is the largest message received, in bytes; DefaultMaxMessage unless set.
	MaxMessage int
	// MaxStreams is how many calls one connection may have open; 1000 by default.
	MaxStreams uint32
	// Streams bounds how many streams a caller may have open, on all its connections together; nil for no bound.
	Streams *occupancy.Counter
	// Wrap, if set, makes what accepts connections of the port, such as one that reads what proxies send first.
	Wrap func(net.Listener) net.Listener
	// Peers says what an address is counted under. Those of trusted proxies connect for others, and are not counted.
	Peers *peer.Resolver
	// Deadline is for unary calls that come without one; 10 s by default.
	Deadline time.Duration
	// Heartbeat is how long a stream may be silent; DefaultHeartbeat by default.
	Heartbeat time.Duration
	// Grace is how long open calls may go on after Run's context ends; 10 s by default.
	Grace time.Duration
}

// What clients of every language have to know; docs/grpc.md says it.
const (
	// defaultDeadline is for unary calls that come without one.
	defaultDeadline = 10 * time.Second
	// maxStreams is how many calls one connection may have open.
	maxStreams = 1000
	// maxMetadata is how many bytes of metadata a call may have.
	maxMetadata = 64 << 10
	// pingAfter is how long a connection is silent before the server pings it.
	pingAfter = 30 * time.Second
	// pingsApart is how far apart the pings of a client have to be.
	pingsApart = 10 * time.Second
)

func (c Config) withDefaults() Config {
	c.MaxMessage = cmp.Or(c.MaxMessage, DefaultMaxMessage)
	c.MaxStreams, c.Heartbeat = cmp.Or(c.MaxStreams, maxStreams), cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.Deadline, c.Grace = cmp.Or(c.Deadline, defaultDeadline), cmp.Or(c.Grace, 10*time.Second)
	return c
}

// Pipe is an in-memory listener. Roles in one process speak gRPC over it, so interceptors and limits are the same in one process and in several.
type Pipe struct{ listener *bufconn.Listener }

// pipeBuffer is how much one direction of the pipe holds, in bytes.
const pipeBuffer = 1 << 20

// NewPipe returns a pipe. It is closed by the Server that serves it.
func NewPipe() *Pipe { return &Pipe{listener: bufconn.Listen(pipeBuffer)} }

// Server is one gRPC server on a TCP port, a pipe, or both. Register services before Run.
type Server struct {
	*grpc.Server
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	pipe     *Pipe
	health   *health.Server
	serving  atomic.Bool
	calls    *interceptors
}

// NewServer binds the port and returns a server that is not serving yet. pipe may be nil.
func NewServer(ctx context.Context, cfg Config, pipe *Pipe, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	auth, err := newAuthenticator(cfg.Auth)
	if err != nil {
		return nil, err
	}
	in := &interceptors{auth: auth, log: log, deadline: cfg.Deadline, metrics: newMetrics(reg), streams: cfg.Streams, beats: beats.New(cfg.Heartbeat)}
	auth.peers = cfg.Peers
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec(cfg.MaxMessage)),
		grpc.MaxRecvMsgSize(headroom * cfg.MaxMessage),
		grpc.MaxConcurrentStreams(cfg.MaxStreams),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingsApart, PermitWithoutStream: true}),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.UnaryInterceptor(in.unary),
		grpc.StreamInterceptor(in.stream),
		grpc.UnknownServiceHandler(in.unknown),
	}
	s := &Server{cfg: cfg, log: log, pipe: pipe, health: health.NewServer(), calls: in}
	s.serving.Store(true)
	if cfg.TLS != nil {
		options = append(options, grpc.Creds(tlsOnTCP{credentials.NewTLS(cfg.TLS)}))
	}
	if cfg.Listen != "" {
		lc := net.ListenConfig{}
		s.listener, err = lc.Listen(ctx, "tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen for gRPC: %w", err)
		}
		if cfg.Wrap != nil {
			s.listener = cfg.Wrap(s.listener)
		}
	}
	s.Server = grpc.NewServer(options...)
	grpc_health_v1.RegisterHealthServer(s, s.health)
	if cfg.Reflection {
		reflection.Register(s)
	}
	return s, nil
}

// Addr returns the TCP address, or nil when there is none.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// SetServing sets the health of the process and of every service that is registered. A name that no service here has is NOT_FOUND.
func (s *Server) SetServing(serving bool) {
	s.serving.Store(serving)
	for name := range s.GetServiceInfo() {
		s.tellHealth(name)
	}
	s.tellHealth("")
}

// tellHealth says of one service what is true of the process; a process begins as serving.
func (s *Server) tellHealth(service string) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if s.serving.Load() {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, status)
}

// Run serves until ctx ends, and lets open calls finish. It returns nil when all have finished within the grace, and
// otherwise an error that says how many were cut off.
func (s *Server) Run(ctx context.Context) error {
	var g errgroup.Group
	serve := func(l net.Listener) {
		g.Go(func() error {
			if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve gRPC: %w", err)
			}
			return nil
		})
	}
	if s.listener != nil {
		serve(s.listener)
	}
	if s.pipe != nil {
		serve(s.pipe.listener)
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- s.shutdown() })
	err := g.Wait()
	if stop() {
		ended <- s.shutdown() // a listener failed
	}
	return errors.Join(err, <-ended)
}

func (s *Server) shutdown() error {
	defer s.calls.beats.Wait()
	s.health.Shutdown()
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	timer := time.NewTimer(s.cfg.Grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		left := s.calls.open.Load()
		s.Stop()
		<-done
		if left == 0 {
			return nil // a connection without calls
		}
		return fmt.Errorf("gRPC: stopped after %s, calls that were left and cut off: %d", s.cfg.Grace, left)
	}
}

// Close frees the port of a server that never ran.
func (s *Server) Close() {
	s.Stop()
	if s.listener != nil {
		_ = s.listener.Close()
	}
}

// tlsOnTCP secures TCP and leaves the pipe, which never leaves the process, as it is.
type tlsOnTCP struct {
	credentials.TransportCredentials
}

// ServerHandshake does the TLS handshake on TCP connections.
func (t tlsOnTCP) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := conn.(syscall.Conn); !ok {
		return conn, nil, nil
	}
	return t.TransportCredentials.ServerHandshake(conn)
}

// Clone returns a copy.
func (t tlsOnTCP) Clone() credentials.TransportCredentials {
	return tlsOnTCP{t.TransportCredentials.Clone()}
}
