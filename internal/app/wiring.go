package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/config"
)

// grpcTLS returns the TLS of the gRPC port; nil for plain text. With a client CA, callers may present a
// certificate, and one that is not of the CA is refused.
func (h *process) grpcTLS(g *errgroup.Group, ctx context.Context) (*tls.Config, error) { //nolint:revive // the group is what ctx is for
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
		pool, err := config.LoadPool(h.cfg.GRPC.ClientCAFile)
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
func checkFiles(cfg config.Config) error {
	var limit syscall.Rlimit
	if !cfg.Runs(config.RoleEdge) || cfg.Edge.Connections == 0 || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	if need := uint64(cfg.Edge.Connections) + spareFiles; limit.Cur < need { //nolint:gosec // a limit is not negative
		return fmt.Errorf("edge.connections: %d need %d open files, and this process may have %d; raise the limit (ulimit -n %d) or lower edge.connections",
			cfg.Edge.Connections, need, limit.Cur, need)
	}
	return nil
}
