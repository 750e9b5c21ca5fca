package app

import (
	"context"
	"errors"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/telemetry"
)

// openStore opens the store of the configuration; nil for a gateway alone, which has none. A Redis that is away
// is no error: the process says that it is not ready. One that may throw messages away is.
func openStore(ctx context.Context, cfg config.Config, tel *telemetry.Telemetry) (bus.Store, error) {
	switch cfg.Store() {
	case config.Nothing:
		return nil, nil
	case config.InMemory:
		return memory.New(memory.Config{Events: cfg.EventLog(), Limit: memoryLimit(cfg.Memory), Metrics: tel.Registry}), nil
	}
	spaces := cfg.Namespaces()
	c := redis.Config{
		URL: cfg.Redis.URL.Reveal(), Prefix: cfg.Redis.Prefix, Replicas: spaces.MostReplicas(), Fsync: spaces.AnyFsynced(),
		Least: func(a bus.Address) redis.Least {
			ns := spaces.For(a)
			return redis.Least{Durability: ns.Durability, Replicas: max(ns.Replicas, 1)}
		},
		MaxMessage: int(cfg.Largest()),
		Events:     cfg.EventLog(), AllowEviction: cfg.Redis.AllowEviction, Metrics: tel.Registry,
	}
	err := openWith(&c, cfg.Redis, tel)
	if err != nil {
		return nil, err
	}
	if c.Bridges, err = cfg.BridgeRules(); err != nil {
		return nil, err
	}
	if c.Aliases, err = cfg.Aliases(); err != nil {
		return nil, err
	}
	store, err := redis.Open(c, tel.Log)
	if err != nil {
		return nil, &config.About{Key: "redis.url", Err: err} // not a nil *Store in a bus.Store that is not nil
	}
	if err := store.CheckEviction(ctx); err != nil {
		return nil, errors.Join(config.Problems{{Where: "redis.url", Text: err.Error()}}, store.Close())
	}
	return store, nil
}

// openWith adds how connections to Redis are made.
func openWith(c *redis.Config, cfg config.Redis, tel *telemetry.Telemetry) error {
	c.SentinelUser, c.SentinelPassword = cfg.SentinelUsername, cfg.SentinelPassword.Reveal()
	if cfg.URLFile != "" {
		c.Reread = cfg.Reread
	}
	if cfg.CAFile != "" {
		pem, err := config.ReadFile(cfg.CAFile)
		if err != nil {
			return &config.About{Key: "redis.ca_file", Err: err}
		}
		c.CA = pem
	}
	if cfg.CertFile != "" {
		cert, err := newCertificate(config.TLS{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}, tel.Log)
		if err != nil {
			return &config.About{Key: "redis.cert_file", Err: err}
		}
		c.Certificate = cert.fresh
	}
	return nil
}
