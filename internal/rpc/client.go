package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
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
	// Deadline is for unary calls that come without one; 5 s by default.
	Deadline time.Duration
	// MaxMessage is the largest message received, in bytes; 16 MiB by default.
	MaxMessage int
}

// Dial returns a connection. It connects when it is first used and reconnects by itself; calls
// made meanwhile fail at once with UNAVAILABLE. The caller closes it.
func Dial(cfg DialConfig) (*grpc.ClientConn, error) {
	if cfg.Deadline <= 0 {
		cfg.Deadline = 5 * time.Second
	}
	if cfg.MaxMessage <= 0 {
		cfg.MaxMessage = 16 << 20
	}
	creds := insecure.NewCredentials()
	if cfg.TLS != nil && cfg.Target != "" {
		creds = credentials.NewTLS(cfg.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(cfg.MaxMessage)),
		grpc.WithChainUnaryInterceptor(unaryClient(cfg)),
		grpc.WithChainStreamInterceptor(streamClient(cfg)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithDisableServiceConfig(),
	}
	target := "dns:///" + cfg.Target
	if cfg.Target == "" {
		if cfg.Pipe == nil {
			return nil, fmt.Errorf("dial: neither a target nor a pipe")
		}
		target = "passthrough:///pipe"
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return cfg.Pipe.listener.DialContext(ctx)
		}))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

func unaryClient(cfg DialConfig) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, cfg.Deadline)
			defer cancel()
		}
		return invoke(withKey(ctx, cfg.InternalKey), method, req, reply, cc, opts...)
	}
}

func streamClient(cfg DialConfig) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(withKey(ctx, cfg.InternalKey), desc, cc, method, opts...)
	}
}

// asCaller marks a context whose calls carry no internal key: they are made for somebody else.
type asCaller struct{}

// ForCaller returns a context whose calls are made with the caller's own credentials, or with none: the
// internal key of the connection is not sent. A gateway uses it.
func ForCaller(ctx context.Context) context.Context { return context.WithValue(ctx, asCaller{}, true) }

func withKey(ctx context.Context, secret string) context.Context {
	if secret == "" || ctx.Value(asCaller{}) != nil {
		return ctx
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+internalKeyText(secret))
}
