package auth

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/trust"
)

// issuer is another issuer, and how its clock goes.
type issuer struct {
	*trust.Issuer
	lead lead
}

// newIssuers returns the other issuers. It fails for one that cannot be used, and for two of which one could name the users of the
// other.
func newIssuers(cfg Config) ([]*issuer, error) {
	if err := trust.Check(cfg.Issuer, cfg.Trust); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	var all []*issuer
	for _, t := range cfg.Trust {
		is, err := trust.New(t, cfg.Now, cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		all = append(all, &issuer{Issuer: is})
	}
	return all, nil
}

// Run reads the keys of other issuers again and again until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, is := range s.trust {
		g.Go(func() error { return is.Run(ctx) })
	}
	return g.Wait() //nolint:wrapcheck // there are none
}

// Issuers returns the issuers whose keys are read from elsewhere. The function of each says whether that works.
func (s *Server) Issuers() map[string]func() error {
	all := map[string]func() error{}
	for _, is := range s.trust {
		if is.Remote() {
			all[is.Issuer.Issuer] = is.Ready
		}
	}
	return all
}

// RefreshKeySets reads the key sets of all issuers again.
func (s *Server) RefreshKeySets(ctx context.Context, _ *authv1.RefreshKeySetsRequest) (*authv1.RefreshKeySetsResponse, error) {
	resp := &authv1.RefreshKeySetsResponse{}
	var failed error
	for _, is := range s.trust {
		if err := is.Refresh(ctx); err != nil {
			failed = bus.ErrUnavailable.With("the key set of "+is.Issuer.Issuer+" cannot be read; the one before stays", nil).Wrap(err)
			continue
		}
		resp.Issuers = append(resp.Issuers, is.Issuer.Issuer)
	}
	s.recent.Purge() // whatever was verified by a key that may be gone
	return resp, failed
}
