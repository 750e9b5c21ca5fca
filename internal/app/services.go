package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/ticket"
	"github.com/trunkline/trunkline/services/admin"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/events"
	"github.com/trunkline/trunkline/services/publish"
)

// services are the gRPC services of a process and their server.
type services struct {
	log         *slog.Logger
	server      *rpc.Server
	certificate *certificate    // nil without TLS
	auth        *auth.Server    // nil without the role auth
	publish     *publish.Server // nil without the role publish, as events
	events      *events.Server
}

// newServices builds the services of this process and adds them to their server; nil when it runs neither auth nor publish.
func newServices(ctx context.Context, b base, keys []rpc.APIKey, protocols []older, open *closers) (*services, error) {
	if !b.cfg.Runs(config.RoleAuth) && !b.cfg.Runs(config.RolePublish) {
		return nil, nil
	}
	secured, certificate, err := grpcTLS(b.cfg.GRPC, b.tel.Log)
	if err != nil {
		return nil, &config.About{Key: "grpc.tls.cert_file", Err: err}
	}
	server, err := rpc.NewServer(ctx, rpc.Config{
		Streams: b.streams, Heartbeat: b.cfg.Streams.Heartbeat, Peers: b.peers, Wrap: b.proxied("grpc.listen"),
		Listen: b.cfg.GRPC.Listen, TLS: secured, MaxMessage: int(b.cfg.GRPC.MaxMessage),
		Reflection: b.cfg.GRPC.Reflection == "on" || b.cfg.GRPC.Reflection == "auto" && b.cfg.Dev,
		Auth: rpc.AuthConfig{
			Keys: keys, Tokens: b.tokens, Tickets: ticket.New(b.store), Revocations: b.revoked,
			Certificates: b.cfg.GRPC.ClientScopes, DevLoopback: b.cfg.Dev,
		},
	}, b.pipe, b.tel.Log, b.tel.Registry)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok {
			return nil, explainListen("grpc.listen", err)
		}
		return nil, &config.About{Key: "api_keys", Err: err}
	}
	open.add(func() error { server.Close(); return nil })
	s := &services{log: b.tel.Log, server: server, certificate: certificate}
	if b.cfg.Runs(config.RoleAuth) {
		if s.auth, err = newAuth(b, protocols, open); err != nil {
			return nil, err
		}
		s.auth.Register(server)
	}
	if b.cfg.Runs(config.RolePublish) {
		if s.publish, s.events, err = newPublish(b); err != nil {
			return nil, err
		}
		s.publish.Register(server)
		s.events.Register(server)
		admin.New(b.store, b.cfg.Namespaces()).Register(server)
		for _, p := range protocols {
			p.Register(b.host(), server)
		}
	}
	return s, nil
}

// apiKeys returns the keys that callers may have, and the throw-away one of development mode.
func apiKeys(cfg config.Config) (keys []rpc.APIKey, devKey string, err error) {
	if keys, err = cfg.Keys(); err != nil {
		return nil, "", &config.About{Key: "api_keys", Err: err}
	}
	keys = append(keys, rpc.InternalKey(cfg.InternalKey.Reveal()))
	if cfg.Dev {
		var k rpc.APIKey
		devKey, k = rpc.NewAPIKey("dev", rpc.ScopeAll)
		keys = append(keys, k)
	}
	return keys, devKey, nil
}

// grpcTLS returns the TLS of the gRPC port; nil for plain text. With a client CA, callers may present a
// certificate, and one that is not of the CA is refused.
func grpcTLS(cfg config.GRPC, log *slog.Logger) (*tls.Config, *certificate, error) {
	if cfg.TLS.CertFile == "" {
		return nil, nil, nil
	}
	c, err := newCertificate(cfg.TLS, log)
	if err != nil {
		return nil, nil, err
	}
	if cfg.ClientCAFile != "" {
		if err := c.trustClients(cfg.ClientCAFile); err != nil {
			return nil, nil, err
		}
	}
	return c.server(), c, nil
}

func newAuth(b base, protocols []older, open *closers) (*auth.Server, error) {
	cfg, err := authConfig(b.cfg)
	if err != nil {
		return nil, err
	}
	cfg.Explain, cfg.Log, cfg.Registry, cfg.Charging = b.cfg.Dev, b.tel.Log, b.tel.Registry, b.charging
	sessions, err := legacySessions(b, protocols, open)
	if err != nil {
		return nil, err
	}
	cfg.Sessions = sessions
	server, err := auth.New(b.store, cfg)
	if err != nil {
		about := &config.About{Key: "auth.keys", Err: err}
		for _, key := range []string{"auth.trust", "auth.algorithms"} {
			if strings.HasPrefix(err.Error(), key) {
				about.Key = key
			}
		}
		return nil, about
	}
	return server, nil
}

// authConfig is what the settings say about tokens. In development a key is made where none is set.
func authConfig(cfg config.Config) (auth.Config, error) {
	a := cfg.Auth
	all := auth.Config{
		Issuer: a.Issuer, Audience: a.Audience, AccessTTL: a.AccessTTL, MaxTTL: a.MaxTTL, RefreshTTL: a.RefreshTTL,
		Algorithms: a.Algorithms, LostRevocations: auth.LostRevocations(a.Revocations.Lost), Leeway: a.Leeway,
		Keys: a.SigningKeys(), Trust: a.Issuers(),
	}
	if cfg.Dev && len(all.Keys) == 0 {
		k, err := auth.NewKey("dev")
		if err != nil {
			return all, err
		}
		all.Keys = append(all.Keys, k)
	}
	return all, nil
}

// InspectToken judges a token by settings alone, as an auth service with them would, and says why it is refused. The keys of other
// issuers are read. Revocations are not known.
func InspectToken(ctx context.Context, settings config.Config, token string) (*authv1.ValidateTokenResult, error) {
	cfg, err := authConfig(settings)
	if err != nil {
		return nil, fmt.Errorf("judge by the settings: %w", err)
	}
	cfg.LostRevocations = auth.LostAllow // there are none to lose
	for i := range cfg.Trust {
		cfg.Trust[i].LostRevocations = ""
	}
	s, err := auth.New(memory.New(memory.Config{}), cfg)
	if err != nil {
		return nil, fmt.Errorf("judge by the settings: %w", err)
	}
	_, _ = s.RefreshKeySets(ctx, &authv1.RefreshKeySetsRequest{}) // a set that cannot be read is told of the tokens that need it
	resp, err := s.BatchValidateTokens(ctx, &authv1.BatchValidateTokensRequest{Tokens: []string{token}, Explain: true})
	if err != nil {
		return nil, fmt.Errorf("judge by the settings: %w", err)
	}
	return resp.GetResults()[0], nil
}

// newPublish builds the services of the role publish: the one that takes messages, and the one that sends events.
func newPublish(b base) (*publish.Server, *events.Server, error) {
	publisher, err := publish.New(b.store, publish.Config{
		Namespaces: b.cfg.Namespaces(), MaxMessage: int(b.cfg.Publish.MaxMessage), MaxState: int(b.cfg.Publish.MaxState), IdempotencyWindow: b.cfg.Publish.IdempotencyWindow,
		MaxChannels: b.cfg.Channels.Created,
		Authorizer:  b.authorizer, Charging: b.charging, Log: b.tel.Log, Registry: b.tel.Registry,
	})
	if err != nil {
		return nil, nil, &config.About{Key: "channels.namespaces", Err: err}
	}
	cfg := events.Config{Namespaces: b.cfg.Namespaces(), Node: b.cfg.Node, Log: b.tel.Log}
	for _, w := range b.cfg.Hooks.Webhooks {
		hook, err := webhook(w)
		if err != nil {
			return nil, nil, &config.About{Key: "hooks.webhooks", Err: fmt.Errorf("%s: %w", w.Name, err)}
		}
		cfg.Webhooks = append(cfg.Webhooks, hook)
	}
	sender, err := events.New(b.store, cfg, b.tel.Registry)
	if err != nil {
		return nil, nil, &config.About{Key: "hooks.webhooks", Err: err}
	}
	return publisher, sender, nil
}

func webhook(w config.Webhook) (events.Webhook, error) {
	hook := events.Webhook{
		Name: w.Name, URL: w.URL, AllowPrivate: w.AllowPrivate,
		Timeout: w.Timeout, GiveUpAfter: w.GiveUpAfter, GiveUpTries: w.GiveUpTries, Batch: w.Batch,
	}
	for _, s := range w.Secrets {
		secret, err := hooks.ParseSecret(s.Reveal())
		if err != nil {
			return events.Webhook{}, fmt.Errorf("secrets: %w", err)
		}
		hook.Secrets = append(hook.Secrets, secret)
	}
	for _, k := range w.Kinds {
		hook.Kinds = append(hook.Kinds, bus.EventKind(k))
	}
	return hook, nil
}

// address is where gRPC listens, as bound; empty where it is served to this process alone.
func (s *services) address() string {
	if s.server.Addr() == nil {
		return ""
	}
	return s.server.Addr().String()
}

// run starts the services.
func (s *services) run(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return s.server.Run(ctx) })
	if s.certificate != nil {
		g.Go(func() error { return s.certificate.Run(ctx) })
	}
	if s.auth != nil {
		g.Go(func() error { return s.auth.Run(ctx) })
		g.Go(func() error { return s.rereadKeySets(ctx) })
	}
	if s.publish != nil {
		g.Go(func() error { return s.publish.Run(ctx) })
		g.Go(func() error { return s.events.Run(ctx) })
	}
}

// rereadKeySets reads the key sets of trusted issuers again at each SIGHUP, until ctx ends.
func (s *services) rereadKeySets(ctx context.Context) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c:
			resp, err := s.auth.RefreshKeySets(ctx, &authv1.RefreshKeySetsRequest{})
			if err != nil {
				s.log.Warn("cannot read every key set again", slog.String("error", err.Error()))
			}
			s.log.Info("read key sets again", slog.Any("issuers", resp.GetIssuers()))
		}
	}
}
