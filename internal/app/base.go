package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/peer"
	"github.com/trunkline/trunkline/internal/proxyproto"
	"github.com/trunkline/trunkline/internal/quota"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/lanes"
	"github.com/trunkline/trunkline/internal/telemetry"
)

// closers are what frees the parts of a process, in the order in which they were built.
type closers []func() error

func (c *closers) add(end func() error) { *c = append(*c, end) }

// close frees the parts, those that stand on others first.
func (c closers) close() error {
	var errs []error
	for _, end := range slices.Backward(c) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// base is what every role stands on.
type base struct {
	cfg        config.Config
	tel        *telemetry.Telemetry
	store      bus.Store // nil for a gateway alone
	pipe       *rpc.Pipe
	conns      conns
	authorizer bus.Authorizer // nil for nobody
	charging   bus.Charging
	quotas     *quota.Quotas
	// tokens validates what callers show, and revoked ends what stands on a token; both are nil for a gateway alone.
	tokens  *rpc.Tokens
	revoked *revoked.Follower
	// streams counts those of every door of the process.
	streams *occupancy.Counter
	// peers says whom connections come from, at every door.
	peers *peer.Resolver
	// headers reads what proxies send before everything else.
	headers *proxyproto.Reader
}

// newBase opens the store and the connections. What it opened is in open, also when it fails.
func newBase(ctx context.Context, cfg config.Config, tel *telemetry.Telemetry, open *closers) (base, error) {
	store, err := openStore(ctx, cfg, tel)
	if err != nil {
		return base{}, err
	}
	if store != nil {
		open.add(store.Close)
	}
	pipe := rpc.NewPipe()
	conns, err := dial(cfg, pipe, open)
	if err != nil {
		return base{}, err
	}
	authorizer, err := dialAuthorizer(cfg.Hooks.Authorizer, tel, open)
	if err != nil {
		return base{}, err
	}
	quotas, err := newQuotas(cfg, store, tel)
	if err != nil {
		return base{}, err
	}
	peers, err := cfg.Peers()
	if err != nil {
		return base{}, err
	}
	b := base{cfg: cfg, tel: tel, peers: peers, store: store, pipe: pipe, conns: conns, authorizer: authorizer, streams: countStreams(cfg.Streams), charging: quotas.Charge, quotas: quotas}
	b.headers = proxyproto.New(peers.Trusts, tel.Log, tel.Registry)
	if store != nil {
		b.tokens = rpc.NewTokens(authv1.NewAuthServiceClient(conns.auth))
		b.revoked = revoked.New(store, revoked.Config{Forget: b.tokens.Forget, Log: tel.Log})
	}
	return b, nil
}

// proxied returns what makes a listener read the PROXY protocol; nil where the settings do not name it.
func (b base) proxied(key string) func(net.Listener) net.Listener {
	if !slices.Contains(b.cfg.ProxyProtocol, key) {
		return nil
	}
	return b.headers.Listen
}

// newQuotas returns the quotas of this process, which everything here shares.
func newQuotas(cfg config.Config, store bus.Store, tel *telemetry.Telemetry) (*quota.Quotas, error) {
	var census bus.Census
	if store != nil {
		census = store
	}
	return quota.New(quota.Config{
		Client: allowance(cfg.Quotas.Client), Key: allowance(cfg.Quotas.Key), Stranger: allowance(cfg.Quotas.Stranger), Namespaces: cfg.Namespaces(),
		Census: census, Log: tel.Log,
	}, tel.Registry)
}

func allowance(a config.Allowance) quota.Allowance {
	return quota.Allowance{
		Messages: a.Messages, Bytes: int(a.Bytes), IdempotencyKeys: a.IdempotencyKeys, Subscriptions: a.Subscriptions,
		Addresses: a.Addresses, Tokens: a.Tokens, Revocations: a.Revocations, Channels: a.Channels,
	}
}

// countStreams returns what counts streams.
func countStreams(s config.Streams) *occupancy.Counter {
	return occupancy.New(occupancy.Limits{
		Token: occupancy.Limit{Most: s.PerToken, Setting: "streams.per_token"}, User: occupancy.Limit{Most: s.PerUser, Setting: "streams.per_user"},
		Key: occupancy.Limit{Most: s.PerKey, Setting: "streams.per_key"}, IP: occupancy.Limit{Most: s.PerIP, Setting: "streams.per_ip"},
	})
}

// conns are the connections to the services; those to a role that nobody here needs are nil.
type conns struct {
	// auth and publish carry the internal key: the roles of this process speak for themselves.
	auth, publish *lanes.Conn
	// openAuth and openPublish carry nothing but what the callers of the gateway send.
	openAuth, openPublish *lanes.Conn
}

// dial connects to the services: those of this process over the pipe, others where the configuration says.
func dial(cfg config.Config, pipe *rpc.Pipe, open *closers) (c conns, err error) {
	var secured *tls.Config
	if cfg.GRPC.CAFile != "" {
		if secured, err = trusting(cfg.GRPC.CAFile); err != nil {
			return conns{}, &config.About{Key: "grpc.ca_file", Err: err}
		}
	}
	connect := func(role, key string) (*lanes.Conn, error) {
		// An answer has at least one message, however large that may be.
		d := rpc.DialConfig{Pipe: pipe, TLS: secured, InternalKey: key, MaxMessage: max(16<<20, 2*int(cfg.GRPC.MaxMessage))}
		if key == "" {
			d.GatewayKey = cfg.InternalKey.Reveal()
		}
		if !cfg.Runs(role) {
			d.Target, d.Pipe = cfg.Target(role), nil
		}
		if d.Target == "" && d.Pipe == nil {
			return nil, nil // the check of the configuration says which roles need it
		}
		conn, err := rpc.Dial(d)
		if err == nil {
			open.add(conn.Close)
		}
		return conn, err
	}
	for _, to := range []struct {
		conn      **lanes.Conn
		role, key string
	}{
		{&c.openAuth, config.RoleAuth, ""},
		{&c.openPublish, config.RolePublish, ""},
		{&c.auth, config.RoleAuth, cfg.InternalKey.Reveal()},
		{&c.publish, config.RolePublish, cfg.InternalKey.Reveal()},
	} {
		if *to.conn, err = connect(to.role, to.key); err != nil {
			return conns{}, &config.About{Key: "upstream", Err: err}
		}
	}
	return c, nil
}

// trusting returns what a client needs to check servers against the certificates of a file.
func trusting(path string) (*tls.Config, error) {
	pool, err := config.LoadPool(path)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// dialAuthorizer connects to the authorizer; nil when none is configured.
func dialAuthorizer(cfg config.Authorizer, tel *telemetry.Telemetry, open *closers) (bus.Authorizer, error) {
	if cfg.Address == "" {
		return nil, nil
	}
	d := rpc.DialConfig{Target: cfg.Address, Deadline: cfg.Timeout}
	if cfg.CAFile != "" {
		var err error
		if d.TLS, err = trusting(cfg.CAFile); err != nil {
			return nil, &config.About{Key: "hooks.authorizer.ca_file", Err: err}
		}
	}
	conn, err := rpc.Dial(d)
	if err != nil {
		return nil, &config.About{Key: "hooks.authorizer.address", Err: err}
	}
	open.add(conn.Close)
	asked := func(action string) bool { return len(cfg.On) == 0 || slices.Contains(cfg.On, action) }
	authorizer, err := hooks.New(conn, hooks.Config{
		Timeout: cfg.Timeout, Cache: cfg.Cache, FailOpen: cfg.Fail == "open",
		Connect: asked("connect"), Subscribe: asked("subscribe"), Publish: asked("publish"), Deliver: slices.Contains(cfg.On, "deliver"),
	}, tel.Log, tel.Registry)
	if err != nil {
		return nil, err // not a nil *Authorizer in a bus.Authorizer that is not nil
	}
	return authorizer, nil
}
