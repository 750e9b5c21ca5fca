package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/rpc"
)

// credential returns the API key or token of the command line or the environment; empty for none.
func (p *program) credential() (string, error) {
	if p.token != "" || p.tokenFile == "" {
		return strings.TrimSpace(p.token), nil
	}
	content, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read --token-file: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// apiKey says whether a credential is the key of a back end.
func apiKey(credential string) bool { return strings.HasPrefix(credential, "tlk_") }

// grpcTarget is host:port of gRPC.
func (p *program) grpcTarget() string {
	target, _ := p.target()
	return target
}

func (p *program) target() (target string, secured bool) {
	if rest, ok := strings.CutPrefix(p.grpc, "https://"); ok {
		return strings.TrimSuffix(rest, "/"), true
	}
	if p.grpc != "" {
		return strings.TrimPrefix(p.grpc, "http://"), false
	}
	u, err := url.Parse(p.server)
	if err != nil || u.Hostname() == "" {
		return "localhost:9090", false
	}
	return net.JoinHostPort(u.Hostname(), "9090"), u.Scheme == "https"
}

func (p *program) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(p.caFile)
	if err != nil {
		return nil, fmt.Errorf("read --ca-file: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-file %s holds no certificate in PEM", p.caFile)
	}
	return cfg, nil
}

// dial returns a connection to gRPC and a context whose calls carry the credential and end in time. The
// caller calls done.
func (p *program) dial(ctx context.Context) (_ context.Context, conn *grpc.ClientConn, done func(), err error) {
	target, secured := p.target()
	cfg := rpc.DialConfig{Target: target, Deadline: p.timeout}
	if secured {
		if cfg.TLS, err = p.tls(); err != nil {
			return nil, nil, nil, err
		}
	}
	credential, err := p.credential()
	if err != nil {
		return nil, nil, nil, err
	}
	if conn, err = rpc.Dial(cfg); err != nil {
		return nil, nil, nil, err
	}
	if credential != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
	}
	return ctx, conn, func() { _ = conn.Close() }, nil
}

// address reads an address as people write it: a bare name is a channel.
func address(s string) string {
	if s == "broadcast" || strings.Contains(s, "/") || s == "" {
		return s
	}
	return "channels/" + s
}

// pattern is address for grants; * alone stays.
func pattern(s string) string {
	if s == "*" {
		return s
	}
	return address(s)
}
