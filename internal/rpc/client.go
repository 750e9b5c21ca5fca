package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/rpc/lanes"
)

const (
	// streamWindow is how many bytes of one stream may be under way to us, and connWindow of all streams of a connection. They are
	// fixed: windows that grow with the speed of the line would let a stream whose reader has stalled hold megabytes.
	streamWindow, connWindow = 64 << 10, 1 << 20
	// laneIdle is how long a connection for streams stays without one.
	laneIdle = time.Minute
)

// DialConfig says how a role reaches another.
type DialConfig struct {
	// Target is host:port; empty for the pipe.
	Target string
	// Pipe is used when Target is empty.
	Pipe *Pipe
	// TLS secures the connection to Target; nil for plain text.
	TLS *tls.Config
	// InternalKey is sent with every call that carries no authorization of its own.
	InternalKey string
	// GatewayKey is sent with streams that are opened for others; empty for none. It is the internal key of the processes, and
	// shows that this one counts the addresses of those others itself.
	GatewayKey string
	// Deadline is for unary calls that come without one; 5 s by default.
	Deadline time.Duration
	// MaxMessage is the largest message received, in bytes; 16 MiB by default.
	MaxMessage int
}

// Dial returns a connection, whose streams are never in the way of its unary calls. It connects when it is first used and
// reconnects by itself; calls made meanwhile fail at once with UNAVAILABLE. The caller closes it.
func Dial(cfg DialConfig) (*lanes.Conn, error) {
	if cfg.Deadline <= 0 {
		cfg.Deadline = 5 * time.Second
	}
	if cfg.MaxMessage <= 0 {
		cfg.MaxMessage = 16 << 20
	}
	target, options, err := dialOptions(cfg)
	if err != nil {
		return nil, err
	}
	dial := func(more ...grpc.DialOption) (*grpc.ClientConn, error) {
		conn, err := grpc.NewClient(target, slices.Concat(options, more)...)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", target, err)
		}
		return conn, nil
	}
	unary, err := dial()
	if err != nil {
		return nil, err
	}
	return lanes.New(unary, func() (*grpc.ClientConn, error) {
		return dial(grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow), grpc.WithIdleTimeout(laneIdle))
	}), nil
}

// redial says how often a role that is away is dialled. One that is back is used again within 1.3 s, however long it was away.
var redial = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.3, MaxDelay: time.Second}

// dialOptions are those that all connections to a target share.
func dialOptions(cfg DialConfig) (target string, options []grpc.DialOption, err error) {
	creds := insecure.NewCredentials()
	if cfg.TLS != nil && cfg.Target != "" {
		creds = credentials.NewTLS(cfg.TLS)
	}
	options = []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(cfg.MaxMessage)),
		grpc.WithChainUnaryInterceptor(unaryClient(cfg)),
		grpc.WithChainStreamInterceptor(streamClient(cfg)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           redial,
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithDisableServiceConfig(),
	}
	if cfg.Target != "" {
		return "dns:///" + cfg.Target, options, nil
	}
	if cfg.Pipe == nil {
		return "", nil, fmt.Errorf("dial: neither a target nor a pipe")
	}
	return "passthrough:///pipe", append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return cfg.Pipe.listener.DialContext(ctx)
	})), nil
}

func unaryClient(cfg DialConfig) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, cfg.Deadline)
			defer cancel()
		}
		return invoke(withKey(withPeer(ctx, cfg), cfg.InternalKey), method, req, reply, cc, opts...)
	}
}

func streamClient(cfg DialConfig) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if cfg.GatewayKey != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, gatewayHeader, internalKeyText(cfg.GatewayKey))
		}
		return open(withKey(withPeer(ctx, cfg), cfg.InternalKey), desc, cc, method, opts...)
	}
}

func withKey(ctx context.Context, secret string) context.Context {
	if secret == "" {
		return ctx
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+internalKeyText(secret))
}

// peerHeader carries the network address of a stranger between our services. It is believed where the internal key stands beside it,
// and nowhere else.
const peerHeader = "x-trunkline-peer"

// peerKey is the key of the network address in a context.
type peerKey struct{}

// WithPeer returns a context whose calls say which network address they are made for. That counts where they have no credentials of
// a caller. The empty address is nobody's.
func WithPeer(ctx context.Context, group string) context.Context {
	if group == "" {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, group)
}

// withPeer tells the service whom a call is made for, with the key that makes it believe that. A caller with credentials is known
// by them.
func withPeer(ctx context.Context, cfg DialConfig) context.Context {
	group, ok := ctx.Value(peerKey{}).(string)
	md, _ := metadata.FromOutgoingContext(ctx)
	if !ok || cfg.InternalKey == "" && cfg.GatewayKey == "" || len(md.Get("authorization")) > 0 {
		return ctx
	}
	// Set, so that nothing that a caller sent stands beside it.
	md = md.Copy()
	md.Set(peerHeader, group)
	if cfg.InternalKey == "" {
		md.Set(gatewayHeader, internalKeyText(cfg.GatewayKey))
	}
	return metadata.NewOutgoingContext(ctx, md)
}
