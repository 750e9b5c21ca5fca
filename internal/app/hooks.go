package app

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/rpc"
)

// dialAuthorizer connects to the authorizer, if one is configured.
func (h *process) dialAuthorizer() error {
	cfg := h.cfg.Hooks.Authorizer
	if cfg.Address == "" {
		return nil
	}
	dial := rpc.DialConfig{Target: cfg.Address, Deadline: cfg.Timeout}
	if cfg.CAFile != "" {
		pool, err := config.LoadPool(cfg.CAFile)
		if err != nil {
			return fmt.Errorf("hooks.authorizer.ca_file: %w", err)
		}
		dial.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	conn, err := rpc.Dial(dial)
	if err != nil {
		return err
	}
	h.conns["authorizer"] = conn
	asks := func(action string) bool { return len(cfg.On) == 0 || slices.Contains(cfg.On, action) }
	h.asks, err = hooks.New(conn, hooks.Config{
		Timeout: cfg.Timeout, Cache: cfg.Cache, FailOpen: cfg.Fail == "open",
		Connect: asks("connect"), Subscribe: asks("subscribe"), Publish: asks("publish"), Deliver: slices.Contains(cfg.On, "deliver"),
	}, h.tel.Log, h.tel.Registry)
	return err
}

// authorizer is who is asked; nil for nobody.
func (h *process) authorizer() bus.Authorizer {
	if h.asks == nil {
		return nil
	}
	return h.asks
}
