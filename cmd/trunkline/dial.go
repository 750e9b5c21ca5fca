package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/names"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/lanes"
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

// endpoint is where a server is reached.
type endpoint struct {
	target  string // host:port of gRPC
	secured bool   // by TLS
}

// endpoint returns where gRPC is. Nothing is guessed: a word that does not name a server is a usage error, because the credential
// and the message would go elsewhere.
func (p *program) endpoint() (endpoint, error) {
	server, err := serverURL(p.server)
	if err != nil {
		return endpoint{}, usageError{err}
	}
	if p.grpc.text == "" {
		return endpoint{target: net.JoinHostPort(server.Hostname(), "9090"), secured: server.Scheme == "https" || server.Scheme == "wss"}, nil
	}
	e, err := grpcEndpoint(p.grpc)
	if err != nil {
		return endpoint{}, usageError{err}
	}
	if host, _, _ := net.SplitHostPort(e.target); p.server.source == "--server" && p.grpc.source == "TRUNKLINE_GRPC" && !strings.EqualFold(host, server.Hostname()) {
		return endpoint{}, usageError{fmt.Errorf("--server names %s and TRUNKLINE_GRPC names %s; say with --grpc which one gRPC is at", server.Hostname(), host)}
	}
	return e, nil
}

// serverURL reads the URL of a server.
func serverURL(n named) (*url.URL, error) {
	wrong := func(why string) error {
		return fmt.Errorf("%s %q %s; write a URL such as https://push.example.com", n.source, shown(n.text), why)
	}
	u, err := url.Parse(n.text)
	if err != nil {
		return nil, wrong("is not a URL")
	}
	switch {
	case !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme):
		return nil, wrong("does not begin with http:// or https://")
	case u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || !isPort(u.Port(), true):
		return nil, wrong("names no host, or a port that is none")
	case u.User != nil:
		return nil, wrong("has a user; the credential is --token")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, wrong("has a query or a fragment")
	}
	return u, nil
}

// grpcEndpoint reads host:port, or a URL of nothing else.
func grpcEndpoint(n named) (endpoint, error) {
	text, e := n.text, endpoint{}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		switch strings.ToLower(scheme) {
		case "https":
			e.secured = true
		case "http":
		default:
			return e, fmt.Errorf("%s %q is neither host:port nor https://host:port", n.source, shown(n.text))
		}
		text = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "/@?# ") || !isPort(port, false) {
		return e, fmt.Errorf("%s %q is neither host:port nor https://host:port", n.source, shown(n.text))
	}
	e.target = text
	return e, nil
}

// isPort says whether a text is the number of a port.
func isPort(s string, orNone bool) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 || orNone && s == ""
}

// shown is a word without what may be a password, or a token in a query.
func shown(s string) string {
	if before, _, query := strings.Cut(s, "?"); query {
		s = before + "?…"
	}
	if i := strings.LastIndex(s, "@"); i >= 0 {
		return "…" + s[i:]
	}
	return s
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
func (p *program) dial(ctx context.Context) (_ context.Context, conn *lanes.Conn, done func(), err error) {
	at, err := p.endpoint()
	if err != nil {
		return nil, nil, nil, err
	}
	p.dialled = at.target
	cfg := rpc.DialConfig{Target: at.target, Deadline: p.timeout}
	if at.secured {
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

// address reads an address as people write it, and returns it as messages say it: a bare name is a channel.
func address(s string) string {
	if s == "broadcast" || strings.Contains(s, "/") || s == "" {
		return names.Address(s)
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
