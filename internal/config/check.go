package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/loopback"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/trust"
)

// checking collects what is wrong with values that are each right on their own.
type checking struct {
	cfg      Config
	origins  map[string]string
	problems Problems
}

func (c *checking) fail(key, format string, args ...any) {
	where := c.origins[key]
	if where == "default" {
		where = ""
	}
	c.problems = append(c.problems, Problem{Where: where, Text: key + ": " + fmt.Sprintf(format, args...)})
}

// check returns everything that is wrong with a configuration whose values are each right.
func check(cfg Config, origins map[string]string) Problems {
	c := &checking{cfg: cfg, origins: origins}
	c.roles()
	c.listeners()
	c.proxyProtocol()
	c.tls()
	c.keys()
	c.tokens()
	c.channels()
	c.redis()
	c.inbox()
	c.edge()
	c.hooks()
	if cfg.Dev {
		c.development()
	} else {
		c.production()
	}
	return c.problems
}

// all says whether the process is the whole system.
func (c Config) all() bool {
	return !slices.ContainsFunc(Roles(), func(r string) bool { return !c.Runs(r) })
}

func (c *checking) roles() {
	cfg := c.cfg
	if len(cfg.Roles) == 0 {
		c.fail("roles", "is empty, allowed are %s", strings.Join(Roles(), ", "))
		return
	}
	for role := range cfg.Upstream {
		if role != RoleAuth && role != RolePublish && role != "*" {
			c.fail("upstream", "role %q, allowed are auth and publish", role)
		}
	}
	if cfg.all() {
		return
	}
	if cfg.Store() == InMemory {
		c.fail("roles", "%s alone need Redis to meet the others: set redis.url, or run all roles in one process", strings.Join(cfg.Roles, ","))
	}
	needs := func(role string) {
		if !cfg.Runs(role) && cfg.Target(role) == "" {
			c.fail("upstream", "%s runs elsewhere: say where, such as %s=%s:9090", role, role, role)
		}
	}
	needs(RoleAuth)
	if cfg.Runs(RoleGateway) || cfg.Runs(RoleEdge) {
		needs(RolePublish)
	}
	if cfg.InternalKey == "" {
		c.fail("internal_key", "is empty; roles in several processes call each other with it (try: openssl rand -base64 48)")
	}
}

// Target is where a role runs that does not run here.
func (c Config) Target(role string) string {
	if t := c.Upstream[role]; t != "" {
		return t
	}
	return c.Upstream["*"]
}

func (c *checking) listeners() {
	ports := map[string]string{}
	for _, l := range c.cfg.listeners() {
		host, port, err := net.SplitHostPort(l.address)
		if err != nil || port == "0" {
			continue
		}
		if other, ok := ports[port]; ok {
			otherHost, _, _ := net.SplitHostPort(c.cfg.listener(other))
			if l.shared && l.address == c.cfg.listener(other) {
				continue // older protocols may share a listener
			}
			if host == "" || otherHost == "" || host == otherHost {
				c.fail(l.key, "port %s is that of %s too", port, other)
			}
			continue
		}
		ports[port] = l.key
	}
	if l := c.cfg.Internal.Listen; l != "" && !loopbackListen(l) && !c.cfg.Internal.AllowRemote {
		c.fail("internal.listen", "%q is reached from elsewhere and asks nobody who they are; keep it on 127.0.0.1 or set internal.allow_remote", l)
	}
}

// proxyProtocol checks that listeners are named, and that there is somebody to believe.
func (c *checking) proxyProtocol() {
	known := []string{"http.listen", "grpc.listen"}
	for _, p := range c.cfg.Legacy.Protocols {
		for _, l := range p.Listeners() {
			known = append(known, l.Key)
		}
	}
	for _, key := range c.cfg.ProxyProtocol {
		if !slices.Contains(known, key) {
			c.fail("proxy_protocol", "%q is no listener, allowed are %s%s", key, strings.Join(known, ", "), suggestion(key, known))
		}
	}
	if len(c.cfg.ProxyProtocol) > 0 && len(c.cfg.HTTP.TrustedProxies) == 0 {
		c.fail("proxy_protocol", "needs http.trusted_proxies: nobody else is believed")
	}
}

type listener struct {
	key, address string
	shared       bool // with other older protocols
}

// listeners returns what the process listens on.
func (c Config) listeners() []listener {
	var all []listener
	add := func(runs bool, key, address string) {
		if runs && address != "" {
			all = append(all, listener{key: key, address: address})
		}
	}
	add(c.Runs(RoleGateway) || c.Runs(RoleEdge), "http.listen", c.HTTP.Listen)
	add(c.Runs(RoleAuth) || c.Runs(RolePublish), "grpc.listen", c.GRPC.Listen)
	add(true, "internal.listen", c.Internal.Listen)
	for _, l := range c.LegacyListeners() {
		all = append(all, listener{l.Key, l.Address, l.Takes != nil})
	}
	return all
}

func (c Config) listener(key string) string {
	for _, l := range c.listeners() {
		if l.key == key {
			return l.address
		}
	}
	return ""
}

func (c *checking) keys() {
	if _, err := c.cfg.Keys(); err != nil {
		c.fail("api_keys", "%v", err)
	}
	for name, scopes := range c.cfg.GRPC.ClientScopes {
		for _, s := range scopes {
			if !slices.Contains(rpc.Scopes(), s) {
				c.fail("grpc.client_scopes", "%s: scope %q, allowed are %s", name, s, strings.Join(rpc.Scopes(), ", "))
			}
		}
	}
}

// Keys returns the API keys, without the internal one.
func (c Config) Keys() ([]rpc.APIKey, error) {
	keys := make([]rpc.APIKey, 0, len(c.APIKeys))
	seen := map[string]bool{}
	for i, k := range c.APIKeys {
		var key rpc.APIKey
		var err error
		switch {
		case k.Key != "" && k.Digest != "":
			err = fmt.Errorf("key and digest are both set")
		case k.Key != "":
			key, err = rpc.ParseAPIKey(strings.TrimSpace(k.Key.Reveal()), k.Scopes...)
			if err == nil && k.ID != "" && k.ID != key.ID {
				err = fmt.Errorf("id is %q and the key's own is %q", k.ID, key.ID)
			}
		case k.Digest != "" && k.ID == "":
			err = fmt.Errorf("id is empty; a digest needs one")
		case k.Digest != "":
			key, err = rpc.ParseAPIKeyDigest(k.ID, k.Digest, k.Scopes...)
		default:
			err = fmt.Errorf("none of key, key_file and digest is set")
		}
		if err == nil && (seen[key.ID] || key.ID == "internal") {
			err = fmt.Errorf("id %q is taken", key.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		seen[key.ID] = true
		keys = append(keys, key)
	}
	return keys, nil
}

func (c *checking) tokens() {
	a := c.cfg.Auth
	if a.AccessTTL > a.MaxTTL {
		c.fail("auth.access_ttl", "%s is more than auth.max_ttl (%s)", a.AccessTTL, a.MaxTTL)
	}
	ids := map[string]bool{}
	for i, k := range a.Keys {
		key := fmt.Sprintf("auth.keys[%d]", i)
		if k.ID == "" || ids[k.ID] {
			c.fail("auth.keys", "%s: id %q is empty or taken", key, k.ID)
		}
		ids[k.ID] = true
		switch {
		case k.Algorithm == "":
			c.fail("auth.keys", "%s: algorithm is empty, allowed are EdDSA, ES256, RS256 and HS256", key)
		case k.Algorithm == "HS256" && (k.Secret == "" || k.PrivateKey != "" || k.PublicKey != ""):
			c.fail("auth.keys", "%s: HS256 takes a secret, and no private_key or public_key", key)
		case k.Algorithm != "HS256" && (k.Secret != "" || k.PrivateKey == "" && k.PublicKey == ""):
			c.fail("auth.keys", "%s: %s takes a private_key, or a public_key to verify alone, and no secret", key, k.Algorithm)
		}
	}
	if len(a.Keys) > 0 && !slices.ContainsFunc(c.problems, func(p Problem) bool { return strings.HasPrefix(p.Text, "auth.keys: ") }) {
		if _, err := jose.NewRing(a.SigningKeys(), a.Algorithms, time.Now()); err != nil {
			c.fail("auth.keys", "%v", err)
		}
	}
	for i, t := range a.Trust {
		if t.JWKSURL == "" {
			c.fail("auth.trust", "auth.trust[%d]: jwks_url is empty", i)
		}
	}
	if err := trust.Check(a.Issuer, a.Issuers()); err != nil {
		c.fail("auth.trust", "%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "auth.trust "), "\n", "; "))
	}
}

// inbox refuses messages that would be gone before an ack of them is late.
func (c *checking) inbox() {
	i, key := c.cfg.Inbox, "inbox.ack_timeout"
	if c.origins[key] == "default" {
		key = "inbox.keep"
	}
	if i.AckTimeout > i.Keep {
		c.fail(key, "messages are kept for %s (inbox.keep), which is less than their ack may take: %s (inbox.ack_timeout)", i.Keep, i.AckTimeout)
	}
}

func (c *checking) edge() {
	e := c.cfg.Edge
	for _, x := range []struct {
		key string
		d   time.Duration
	}{{"edge.ping_interval", e.PingInterval}, {"edge.handshake_timeout", e.HandshakeTimeout}} {
		if x.d%time.Second != 0 {
			c.fail(x.key, "%s is not in whole seconds", x.d)
		}
	}
	if e.ConnectionsPerIP > e.Connections && e.Connections > 0 && c.origins["edge.connections_per_ip"] != "default" {
		c.fail("edge.connections_per_ip", "%d is more than edge.connections (%d)", e.ConnectionsPerIP, e.Connections)
	}
	for _, b := range c.cfg.passages() {
		if *b.size < b.need {
			c.fail(b.key, "%s is too little for %s; it needs %s", *b.size, b.carries, b.need)
		}
	}
}

const (
	// grpcOverhead is what stands around a payload in a request: attributes above all. frameOverhead is the same in a frame.
	grpcOverhead  = 64 << 10
	frameOverhead = 32 << 10
	// dialectQueue is how many of the largest messages of an older protocol may wait for a client.
	dialectQueue = 4
	// largestFrame is the most that edge.frame_size may be.
	largestFrame = 16 << 20
)

// passage is a bound in bytes through which the largest message has to pass.
type passage struct {
	key     string
	size    *Size
	need    Size
	carries string // what has to pass
	follows bool   // it is raised to what it needs unless it is set
}

// passages returns all of them. A new bound on what messages pass through belongs here, and is then checked.
func (c *Config) passages() []passage {
	largest, older := c.Publish.MaxMessage, c.Legacy.largest()
	payload := fmt.Sprintf("publish.max_message (%s)", largest)
	frame := largest/3*4 + frameOverhead // JSON may have to carry a payload in base64
	request, kept := payload, largest
	if older > largest {
		request, kept = fmt.Sprintf("the largest message of an older protocol (%s)", older), older
	}
	all := []passage{
		{"grpc.max_message", &c.GRPC.MaxMessage, kept + grpcOverhead, request + " and what stands around a payload", true},
		{"edge.frame_size", &c.Edge.FrameSize, min(frame, largestFrame), payload + " in base64", true},
		// Messages leave a quarter of a queue to answers. A message that does not fit beside anything else ends a connection that is not slow.
		// Larger ones of older protocols are not counted on: their own sockets have queues of their own, and an empty queue takes any message.
		{"edge.queue_bytes", &c.Edge.QueueBytes, frame + (frame+2)/3, payload + " in a frame, and answers beside it", true},
	}
	if older > 0 {
		need := dialectQueue * (older + grpcOverhead)
		all = append(all, passage{"legacy.queue_bytes", &c.Legacy.QueueBytes, need, "one client that reads slowly; four of the largest messages wait for it", true})
	}
	if c.Redis.URL.Reveal() == "" && c.Memory.Limit > 0 {
		all = append(all, passage{"memory.limit", &c.Memory.Limit, 2*kept + grpcOverhead, request + ", which would never be stored", false})
	}
	for prefix, a := range map[string]*Allowance{"quotas.client": &c.Quotas.Client, "quotas.key": &c.Quotas.Key, "quotas.stranger": &c.Quotas.Stranger} {
		if a.Bytes > 0 {
			all = append(all, passage{prefix + ".bytes_per_minute", &a.Bytes, kept, request + ", which would take more than a minute's", false})
		}
	}
	return all
}

// fit raises the limits that nobody has set to what the largest payload needs.
func (c *Config) fit(origins map[string]string) {
	for _, b := range c.passages() {
		if b.follows && origins[b.key] == "default" && *b.size < b.need {
			*b.size, origins[b.key] = b.need, "fits publish.max_message"
		}
	}
}

// keepToLoopback moves the listeners that nobody asked for to this machine alone. Nobody waits for a load balancer there.
func (c *Config) keepToLoopback(origins map[string]string) {
	if origins["shutdown_delay"] == "default" {
		c.ShutdownDelay = 0
		origins["shutdown_delay"] = "development mode"
	}
	for key, listen := range map[string]*string{"http.listen": &c.HTTP.Listen, "grpc.listen": &c.GRPC.Listen} {
		if origins[key] == "default" {
			_, port, _ := net.SplitHostPort(*listen)
			*listen = net.JoinHostPort("localhost", port)
			origins[key] = "development mode"
		}
	}
}

// development checks what only a process on a developer's machine may do.
func (c *checking) development() {
	if !c.cfg.all() {
		c.fail("dev", "development mode runs all roles in one process; leave roles out, or dev")
	}
	for _, l := range c.cfg.LegacyListeners() {
		if !loopbackListen(l.Address) && !c.cfg.Legacy.Open {
			c.fail(l.Key, "%q is reached from elsewhere, and in development mode the older protocols let everybody do everything there; "+
				"keep it on localhost, or set legacy.open to mean it", l.Address)
		}
	}
	if u, err := url.Parse(c.cfg.HTTP.PublicURL); err == nil && u.Host != "" && !loopback.Host(u.Host) {
		c.fail("http.public_url", "%q is not this machine, and development mode lets everybody in; leave dev out", c.cfg.HTTP.PublicURL)
	}
}

// production checks what has to be there when not everybody may do everything.
func (c *checking) production() {
	if c.cfg.Runs(RoleAuth) && len(c.cfg.Auth.Keys) == 0 {
		c.fail("auth.keys", "is empty, and nothing could sign tokens; make one (openssl genpkey -algorithm ed25519 -out k1.pem)"+
			" and set auth.keys: [{id: k1, algorithm: EdDSA, private_key_file: k1.pem}], or start with --dev")
	}
	if u, err := url.Parse(c.cfg.HTTP.PublicURL); err == nil && u.Scheme == "http" && !loopback.Host(u.Host) {
		c.fail("http.public_url", "%q is http: tokens would travel in the open; use https", c.cfg.HTTP.PublicURL)
	}
	if c.cfg.GRPC.Reflection == "on" && !loopbackListen(c.cfg.GRPC.Listen) {
		c.fail("grpc.reflection", "on needs a loopback grpc.listen, or development mode")
	}
}
