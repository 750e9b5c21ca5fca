package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// until is when a key ends; zero for never.
func (k SigningKey) until() time.Time {
	t, _ := time.Parse(time.RFC3339, k.Until) // checked when it was read
	return t
}

// origins returns the origins of pages that may connect: those configured, and the one that a proxy shows.
func (c Config) origins() []string {
	all := slices.Clone(c.Edge.AllowedOrigins)
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil && u.Host != "" {
		all = append(all, u.Scheme+"://"+u.Host)
	}
	return all
}

func (c Config) proxies() ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(c.HTTP.TrustedProxies))
	for _, s := range c.HTTP.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("http.trusted_proxies: %w", err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		all = append(all, p)
	}
	return all, nil
}

// grpcTLS returns the TLS of the gRPC port; nil for plain text. With a client CA, callers may present a
// certificate, and one that is not of the CA is refused.
func (h *house) grpcTLS(g *errgroup.Group, ctx context.Context) (*tls.Config, error) { //nolint:revive // the group is what ctx is for
	files := h.cfg.GRPC.TLS
	if files.CertFile == "" {
		return nil, nil
	}
	c, err := newCertificate(files, h.tel.Log)
	if err != nil {
		return nil, err
	}
	secured := c.server()
	if h.cfg.GRPC.ClientCAFile != "" {
		pool, err := loadPool(h.cfg.GRPC.ClientCAFile)
		if err != nil {
			return nil, err
		}
		secured.ClientCAs, secured.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	g.Go(func() error { return c.Run(ctx) })
	return secured, nil
}

// spareFiles is how many open files a process needs besides its connections.
const spareFiles = 512

// checkFiles refuses a limit of connections that the system's limit of open files would break.
func checkFiles(cfg Config) error {
	var limit syscall.Rlimit
	if !cfg.Runs(RoleEdge) || cfg.Edge.Connections == 0 || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	if need := uint64(cfg.Edge.Connections) + spareFiles; limit.Cur < need { //nolint:gosec // a limit is not negative
		return fmt.Errorf("edge.connections: %d need %d open files, and this process may have %d; raise the limit (ulimit -n %d) or lower edge.connections",
			cfg.Edge.Connections, need, limit.Cur, need)
	}
	return nil
}
