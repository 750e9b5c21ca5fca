// Package config holds the settings of a process: their tree, and how they are read from files, the environment and
// flags, checked and shown. It holds values only and builds nothing from them.
package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/peer"
)

// Config is every setting of a process. This tree is the only source: the decoder, the names of environment
// variables, their documentation and the checks are made from it. The program brings the defaults, because each
// service declares its own.
type Config struct {
	Roles       []string          `key:"roles" oneof:"auth,publish,gateway,edge" doc:"The roles this process runs; a part of them needs Redis."`
	Dev         bool              `key:"dev" doc:"Development mode: everything on loopback, keys made in memory, local callers are admins."`
	Node        string            `key:"node" kind:"name" doc:"The name of this process among the others; made from the host's name when empty."`
	InternalKey Secret            `key:"internal_key" kind:"strong" doc:"What roles in several processes call each other with; the same in all of them, at least 32 characters."`
	Upstream    map[string]string `key:"upstream" kind:"target" doc:"Where the roles auth and publish run when not in this process, as host:port." example:"auth=auth:9090,publish=publish:9090"`
	APIKeys     []APIKey          `key:"api_keys" doc:"The keys of back ends, each with id, key (or key_file, or digest) and scopes."`

	ProxyProtocol []string      `key:"proxy_protocol" doc:"Listeners, by their settings, that proxies of http.trusted_proxies reach with the PROXY protocol, version 1 or 2. Each of their connections begins with a header. Callers from elsewhere are served without one, and are not believed." example:"http.listen,grpc.listen"`
	ShutdownDelay time.Duration `key:"shutdown_delay" min:"0s" max:"10m" doc:"After SIGTERM, how long everything is still served while readiness is red, so that load balancers notice. Unless set, none in development mode."`

	Log      Log      `key:"log"`
	HTTP     HTTP     `key:"http"`
	GRPC     GRPC     `key:"grpc"`
	Streams  Streams  `key:"streams"`
	Internal Internal `key:"internal"`
	Redis    Redis    `key:"redis"`
	Memory   Memory   `key:"memory"`
	Auth     Auth     `key:"auth"`
	Edge     Edge     `key:"edge"`
	Channels Channels `key:"channels"`
	Inbox    Inbox    `key:"inbox"`
	Publish  Publish  `key:"publish"`
	Presence Presence `key:"presence"`
	Quotas   Quotas   `key:"quotas"`
	Hooks    Hooks    `key:"hooks"`
	Legacy   Legacy   `key:"legacy"`

	// Version is shown to operators; the program sets it.
	Version string `key:"-"`
}

// Log says how logs are written, to stderr.
type Log struct {
	Level  string `key:"level" oneof:"debug,info,warn,error" doc:"The least level that is written."`
	Format string `key:"format" oneof:"auto,text,json" doc:"auto is text on a terminal and JSON elsewhere."`
}

// HTTP is the listener of REST, WebSocket and the web pages.
type HTTP struct {
	Listen         string   `key:"listen" kind:"listen" doc:"Where REST, WebSocket and the web pages listen."`
	PublicURL      string   `key:"public_url" kind:"url" doc:"The URL that browsers reach the server under, where a proxy changes it." example:"https://push.example.com"`
	TLS            TLS      `key:"tls"`
	AllowedOrigins []string `key:"allowed_origins" kind:"named_origin" doc:"Origins of pages that may call REST besides those of the same origin (CORS), written as in edge.allowed_origins, without * alone." example:"https://app.example.com,https://*.example.org"`
	TrustedProxies []string `key:"trusted_proxies" kind:"cidr" doc:"Networks of proxies that are believed when they say whom a connection comes from. Every HTTP listener follows it." example:"10.0.0.0/8"`

	ClientAddressHeader string        `key:"client_address_header" oneof:"x-forwarded-for,forwarded" doc:"The header in which trusted proxies say that; the other one is not read. forwarded is RFC 7239."`
	IPv6Prefix          int           `key:"ipv6_prefix" min:"16" max:"128" doc:"How many bits of an IPv6 address tell clients apart in limits for each address. A client that has a network has all of its addresses."`
	IdleTimeout         time.Duration `key:"idle_timeout" min:"1s" max:"1h" doc:"How long a connection without a request is kept. Longer than the proxies in front keep theirs, or they send into one that closes. Every HTTP listener follows it."`
}

// Streams is about the streams of gRPC and REST. It bounds those that one caller has open at a process. Beyond a bound a caller is refused with
// CONNECTION_LIMIT until one of its streams ends.
type Streams struct {
	PerToken int `key:"per_token" min:"0" max:"10000000" doc:"Streams of gRPC and REST that one token may have open at a process; 0 for no limit."`
	PerUser  int `key:"per_user" min:"0" max:"10000000" doc:"The same of one user, with all tokens together; of the client where a token names no user."`
	PerIP    int `key:"per_ip" min:"0" max:"10000000" doc:"The same of one IP address, or one network of IPv6 (http.ipv6_prefix); back ends with an API key are not counted by address."`
	PerKey   int `key:"per_key" min:"0" max:"10000000" doc:"The same of one API key."`

	Heartbeat time.Duration `key:"heartbeat" min:"1s" max:"10m" doc:"After what silence a stream says that it is alive. Proxies have to wait for longer."`
}

// TLS is a certificate that is read again when its files change.
type TLS struct {
	CertFile string `key:"cert_file" kind:"file" doc:"The certificate chain, PEM; read again when it changes. Plain text when empty."`
	KeyFile  string `key:"key_file" kind:"file" doc:"The key of the certificate, PEM."`
}

// GRPC is the listener of the services.
type GRPC struct {
	Listen       string              `key:"listen" kind:"listen" doc:"Where gRPC listens."`
	TLS          TLS                 `key:"tls"`
	ClientCAFile string              `key:"client_ca_file" kind:"file" doc:"Callers may present a certificate of this CA (mTLS)."`
	ClientScopes map[string][]string `key:"client_scopes" doc:"What callers with a certificate may do: common name to scopes." example:"{billing: [publish]}"`
	CAFile       string              `key:"ca_file" kind:"file" doc:"Connect to upstreams with TLS and check them against this CA."`
	Reflection   string              `key:"reflection" oneof:"auto,on,off" doc:"gRPC reflection; auto is on in development mode. Elsewhere only on a loopback listener."`
	MaxMessage   Size                `key:"max_message" min:"64KiB" max:"1GiB" doc:"The largest gRPC message received. Unless it is set, it is raised to what publish.max_message and those of the older protocols need."`
}

// Internal is the listener of metrics, health and profiles.
type Internal struct {
	Listen      string `key:"listen" kind:"listen" doc:"Where metrics, health and, on loopback, profiles listen."`
	AllowRemote bool   `key:"allow_remote" doc:"Lets internal.listen be an address that is not loopback; profiles are then off."`
}

// Redis is the store. Without a URL everything is in memory.
type Redis struct {
	URL     Secret `key:"url" kind:"redis" doc:"redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// (rediss+… with TLS) or unix:///path/of/redis.sock. In memory when empty." example:"redis://redis:6379/0"`
	URLFile string `key:"url_file" kind:"file" holds:"redis.url" doc:"A file with redis.url. It is read again for each new connection, so that the user and the password may change; anything else in it needs a restart."`

	SentinelUsername string `key:"sentinel_username" doc:"The user that signs in at sentinels; the default one when empty. The URL names the user of the servers behind them."`
	SentinelPassword Secret `key:"sentinel_password" doc:"The password of sentinels, where they ask for one. The one in the URL is for the servers alone."`

	CAFile   string `key:"ca_file" kind:"file" doc:"The CA of a server with TLS, PEM, for sentinels too; the system's when empty."`
	CertFile string `key:"cert_file" kind:"file" doc:"The certificate chain for a server that asks its clients for one, PEM; read again when it changes."`
	KeyFile  string `key:"key_file" kind:"file" doc:"The key of that certificate, PEM."`
	Prefix   string `key:"prefix" kind:"prefix" doc:"The first part of every key and channel in Redis. Several deployments that share a Redis have each their own, or each their own database."`

	AllowEviction bool `key:"allow_eviction" doc:"Accepts a Redis whose maxmemory-policy is not noeviction, which may throw messages away without a word. Otherwise it is refused at the start, and readiness is red when it appears later."`

	Bridges []Bridge `key:"bridges" doc:"Channels of Redis that other programs use, each with channel, to, direction (in or both), format (raw or json), data and sender; see docs/dialects.md. The same on every process." example:"[{channel: app:notifications, to: broadcast}]"`
}

// Memory is the store of a process without Redis.
type Memory struct {
	Limit Size `key:"limit" min:"0" max:"1TiB" doc:"How much the store in memory keeps; more is refused with STORAGE_FULL. The process needs about twice as much. 0 is a quarter of the memory that the process may use."`
}

// APIKey is the key of a back end.
type APIKey struct {
	ID     string   `key:"id"`
	Key    Secret   `key:"key" kind:"strong"`
	Digest string   `key:"digest"`
	Scopes []string `key:"scopes"`
}

// Edge is about WebSocket connections.
type Edge struct {
	AllowedOrigins        []string      `key:"allowed_origins" kind:"origin" doc:"Origins of pages and apps that may connect besides those of the same origin. https://*.example.com is every name one label below. Apps have schemes, as in capacitor://localhost. null and file:// count where they are named. * is for all." example:"https://app.example.com,capacitor://localhost"`
	PingInterval          time.Duration `key:"ping_interval" min:"1s" max:"10m" doc:"How often a client is pinged; one that is silent for two intervals is closed."`
	HandshakeTimeout      time.Duration `key:"handshake_timeout" min:"1s" max:"5m" doc:"How long a client has to send connect."`
	WriteTimeout          time.Duration `key:"write_timeout" min:"100ms" max:"5m" doc:"How long a client may take no byte at all."`
	CloseTimeout          time.Duration `key:"close_timeout" min:"100ms" max:"5m" doc:"How long a client that does not read may take to read why its connection ends; then it is reset."`
	CallTimeout           time.Duration `key:"call_timeout" min:"10ms" max:"1m" doc:"How long a call to the auth and publish services may take."`
	FrameSize             Size          `key:"frame_size" min:"1KiB" max:"16MiB" doc:"The largest frame of a client. Unless it is set, it is raised to what publish.max_message needs in base64."`
	QueueBytes            Size          `key:"queue_bytes" min:"16KiB" max:"1GiB" doc:"How much may wait for a client that reads slowly. Unless it is set, it is raised to what publish.max_message needs."`
	CommandsPerSecond     float64       `key:"commands_per_second" min:"0.1" max:"1000000" doc:"Commands of one connection, over time."`
	CommandBurst          int           `key:"command_burst" min:"1" max:"1000000" doc:"Commands of one connection, at once."`
	ChannelsPerConnection int           `key:"channels_per_connection" min:"1" max:"100000" doc:"Subscriptions of one connection besides its own addresses."`
	Connections           int           `key:"connections" min:"0" max:"10000000" doc:"Connections of this process; 0 for no limit."`
	ConnectionsPerIP      int           `key:"connections_per_ip" min:"0" max:"10000000" doc:"Connections from one IP address, or one network of IPv6 (http.ipv6_prefix); 0 for no limit."`
	ConnectionsPerToken   int           `key:"connections_per_token" min:"0" max:"10000000" doc:"Connections with one token; 0 for no limit."`
	ConnectionsPerUser    int           `key:"connections_per_user" min:"0" max:"10000000" doc:"Connections of one user, with all tokens together; of the client where a token names no user; 0 for no limit."`
	FramesPerSecond       int           `key:"frames_per_second" min:"10" max:"10000000" doc:"Frames of one connection that end no message and carry next to nothing: pings, pongs, and fragments of less than 256 bytes."`
	MessageTimeout        time.Duration `key:"message_timeout" min:"1s" max:"10m" doc:"How long a client may take from the first byte of a message to its last."`
	ConnectsInProgress    int           `key:"connects_in_progress" min:"1" max:"1000000" doc:"Connects that are worked on at once; more are refused at once, with a time to come back."`
	Tickets               Tickets       `key:"tickets"`
	DrainWindow           time.Duration `key:"drain_window" min:"1ms" max:"10m" doc:"At a stop, clients are told to move over this time."`
	DrainGrace            time.Duration `key:"drain_grace" min:"1ms" max:"1h" doc:"At a stop, how long those that have not moved are served."`
}

// Tickets lets clients connect again without a call of the auth service. Without a key there are none.
type Tickets struct {
	Keys []Secret      `key:"keys" kind:"sealing" doc:"Keys of 32 bytes in base64, the same on every edge; the first seals resume tickets, all open them. No tickets when empty."`
	Life time.Duration `key:"life" min:"1s" max:"10m" doc:"How long a resume ticket may be used; it never outlives its token. Open connections get a new one when about half of it is over."`
}

// Channels is how channels are kept, by the part of their name before the first colon.
type Channels struct {
	Defaults   Channel                `key:"defaults"`
	Created    int                    `key:"created" min:"1" max:"10000000" doc:"How many channels may be created; using one does not need that."`
	Namespaces map[string]ChannelRule `key:"namespaces" doc:"Namespaces that differ from channels.defaults, by name." example:"{orders: {history_length: 1000, history_age: 24h}}"`
}

// Channel is how the channels of a namespace are kept.
type Channel struct {
	HistoryLength int           `key:"history_length" min:"0" max:"1000000" doc:"How many messages are kept; 0 for none."`
	HistoryAge    time.Duration `key:"history_age" min:"1s" max:"8760h" doc:"How long they are kept."`
	Retain        time.Duration `key:"retain" min:"0s" max:"720h" doc:"How long the last message of each address is kept for those who subscribe with fromLast; 0 for not at all."`
	Addresses     int           `key:"addresses_per_hour" min:"0" max:"1000000000" doc:"How many new addresses each process lets a namespace get in an hour, from everybody together. All namespaces that are not named count as one; 0 for no limit. See docs/quotas.md."`
	Kept          int           `key:"addresses" min:"0" max:"1000000000" doc:"About how many addresses of a namespace may be kept, over all processes. All namespaces that are not named count as one; 0 for no limit. See docs/quotas.md."`
	Presence      bool          `key:"presence" doc:"Lists who is subscribed."`
	Explicit      bool          `key:"explicit" doc:"Refuses channels that were not created."`
	Overload      string        `key:"overload" oneof:"catch_up,disconnect,drop_oldest,conflate" doc:"What a client gets that reads too slowly; by default catch_up where there is history, drop_oldest elsewhere."`
	Durability    string        `key:"durability" oneof:"accepted,replicated,fsynced" doc:"The least that counts as OK: appended, by default; acknowledged by replicas; or synced to disk. Needs history."`
	Replicas      int           `key:"replicas" min:"0" max:"5" doc:"With replicated: how many replicas; 1 unless set."`
	ConflateKey   string        `key:"conflate_key" doc:"The attribute of which conflate keeps the newest message of each value."`
}

// ChannelRule is a Channel of which what is not set is as in channels.defaults.
type ChannelRule struct {
	HistoryLength *int           `key:"history_length" min:"0" max:"1000000"`
	HistoryAge    *time.Duration `key:"history_age" min:"1s" max:"8760h"`
	Retain        *time.Duration `key:"retain" min:"0s" max:"720h"`
	Addresses     *int           `key:"addresses_per_hour" min:"0" max:"1000000000"`
	Kept          *int           `key:"addresses" min:"0" max:"1000000000"`
	Presence      *bool          `key:"presence"`
	Explicit      *bool          `key:"explicit"`
	Overload      *string        `key:"overload" oneof:"catch_up,disconnect,drop_oldest,conflate"`
	ConflateKey   *string        `key:"conflate_key"`
	Durability    *string        `key:"durability" oneof:"accepted,replicated,fsynced"`
	Replicas      *int           `key:"replicas" min:"0" max:"5"`
}

// Presence is about who comes to an address and who goes.
type Presence struct {
	MaxMembersInEvents int `key:"max_members_in_events" min:"1" max:"10000" doc:"Up to how many clients of an address presence events say who came and who went. With more they say how many there are. The same on every process."`
}

// Inbox is about messages that ask for an ack.
type Inbox struct {
	Limit      int           `key:"limit" min:"1" max:"1000000" doc:"How many messages may wait for an ack in one inbox; one more is refused."`
	Keep       time.Duration `key:"keep" min:"1s" max:"720h" doc:"How long they wait, unless the publisher says less."`
	AckTimeout time.Duration `key:"ack_timeout" min:"100ms" max:"1h" doc:"How long an ack may take before a message counts as stored, unless the publisher says otherwise."`
}

// Publish is about the publish service.
type Publish struct {
	MaxMessage        Size          `key:"max_message" min:"1KiB" max:"64MiB" doc:"The largest payload of a message. Bodies of REST requests may be as large as JSON can make it, and as a batch that fits grpc.max_message."`
	MaxState          Size          `key:"max_state" min:"1KiB" max:"64MiB" doc:"The largest state of an address, and no more than publish.max_message. Each change of a state copies all of it."`
	IdempotencyWindow time.Duration `key:"idempotency_window" min:"1s" max:"24h" doc:"How long an idempotency key is remembered."`
}

// Quotas is how much each account may use at every process. Each amount may be used at once, and comes back evenly over its period.
type Quotas struct {
	Client   Allowance `key:"client"`
	Key      Allowance `key:"key"`
	Stranger Allowance `key:"stranger"`
}

// Allowance is what one account may use: under client each user, or a client without a user; under key each API key. Under stranger it
// is each network address from which callers without a name come, where older protocols are open.
type Allowance struct {
	Messages        int  `key:"messages_per_minute" min:"0" max:"1000000000" doc:"Messages that one account may send; 0 for no limit. A client is a user with all of its connections; see docs/quotas.md."`
	Bytes           Size `key:"bytes_per_minute" min:"0" max:"1TiB" doc:"Bytes of its messages and states that are kept; 0 for no limit."`
	IdempotencyKeys int  `key:"idempotency_keys_per_minute" min:"0" max:"1000000000" doc:"Idempotency keys that are remembered for it; 0 for no limit."`
	Subscriptions   int  `key:"subscriptions_per_minute" min:"0" max:"1000000000" doc:"Subscriptions that it may begin; 0 for no limit."`
	Addresses       int  `key:"addresses_per_hour" min:"0" max:"1000000000" doc:"New addresses that it may send to with something kept, read or subscribe to: those that the process has not met lately. 0 for no limit."`
	Tokens          int  `key:"tokens_per_hour" min:"0" max:"1000000000" doc:"Refresh tokens that it may issue, and tokens of older systems; 0 for no limit. An exchange is free."`
	Revocations     int  `key:"revocations_per_hour" min:"0" max:"1000000000" doc:"Revocations that it may make; 0 for no limit."`
	Channels        int  `key:"channels_per_hour" min:"0" max:"1000000000" doc:"Channels that it may create, each KiB of labels counted as one more; 0 for no limit."`
}

// Hooks is about services of yours that are asked, or told.
type Hooks struct {
	Authorizer Authorizer `key:"authorizer"`
	Events     Events     `key:"events"`
	Webhooks   []Webhook  `key:"webhooks" doc:"Where events are sent as signed requests; read by the role publish. Each has name, url, secrets, kinds (all when empty), allow_private and batch (1 event a request). A secret is whsec_ and 24 to 64 bytes in base64; while one is replaced, there are two or more. The times are timeout (10s) and give_up_after (24h), and give_up_tries (12) counts refusals."`
}

// Events says whether a log of what happens is kept. The log tells of connections that open and end, which addresses are occupied
// and vacated, which messages were stored and have expired.
type Events struct {
	Enabled bool          `key:"enabled" doc:"Keeps a log of events, for trunkline.hooks.v1.EventService and webhooks. The same on every process."`
	Length  int           `key:"length" min:"1000" max:"1000000" doc:"How many events are kept."`
	Age     time.Duration `key:"age" min:"1m" max:"720h" doc:"How long they are kept."`
	Share   int           `key:"share" min:"0" max:"100" doc:"How many hundredths of length each process tells of one user in an hour. Its sessions count, and messages with an ack that it sends. For a client without a user, the client counts. 0 for no limit. See docs/hooks.md."`
}

// Webhook is one receiver of events.
type Webhook struct {
	Name         string        `key:"name" kind:"name"`
	URL          string        `key:"url" kind:"webhook"`
	Secrets      []Secret      `key:"secrets" kind:"whsec"`
	Kinds        []string      `key:"kinds" oneof:"connected,disconnected,occupied,vacated,stored,expired"`
	AllowPrivate bool          `key:"allow_private"`
	Timeout      time.Duration `key:"timeout" min:"100ms" max:"1m"`
	GiveUpAfter  time.Duration `key:"give_up_after" min:"1s" max:"720h"`
	GiveUpTries  int           `key:"give_up_tries" min:"1" max:"1000"`
	Batch        int           `key:"batch" min:"1" max:"1000"`
}

// Authorizer is your AuthorizerService, which may refuse what a token grants.
type Authorizer struct {
	Address string        `key:"address" kind:"target" doc:"Where your trunkline.hooks.v1.AuthorizerService listens, as host:port; empty for none." example:"authorizer:9000"`
	CAFile  string        `key:"ca_file" doc:"PEM certificates that the authorizer's certificate is checked against; plain text when empty."`
	On      []string      `key:"on" oneof:"connect,subscribe,publish,deliver" doc:"What it is asked about; everything but deliver when empty."`
	Fail    string        `key:"fail" oneof:"closed,open" doc:"What happens when it does not answer: closed refuses, open allows. Has to be said when there is an address."`
	Timeout time.Duration `key:"timeout" min:"1ms" max:"1m" doc:"How long one question may take."`
	Cache   time.Duration `key:"cache" min:"1ms" max:"1h" doc:"For how long an answer is believed at most."`
}

// The roles.
const (
	RoleAuth    = "auth"
	RolePublish = "publish"
	RoleGateway = "gateway"
	RoleEdge    = "edge"
)

// Roles returns every role.
func Roles() []string { return []string{RoleAuth, RolePublish, RoleGateway, RoleEdge} }

// Runs says whether the process runs the role.
func (c Config) Runs(role string) bool {
	return slices.Contains(c.Roles, role)
}

// What a process keeps its messages in.
const (
	InMemory = "memory"
	InRedis  = "redis"
	Nothing  = "none"
)

// Store says what the process keeps its messages in.
func (c Config) Store() string {
	switch {
	case c.Redis.URL != "":
		return InRedis
	case len(c.Roles) == 1 && c.Runs(RoleGateway):
		return Nothing
	}
	return InMemory
}

// Origins returns the origins of pages that may connect: those configured, and the one that a proxy shows.
func (c Config) Origins() []string {
	all := slices.Clone(c.Edge.AllowedOrigins)
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil && u.Host != "" {
		all = append(all, u.Scheme+"://"+u.Host)
	}
	return all
}

// Peers returns what says whom requests come from.
func (c Config) Peers() (*peer.Resolver, error) {
	trusted, err := c.proxies()
	if err != nil {
		return nil, err
	}
	return peer.New(peer.Config{Trusted: trusted, Header: c.HTTP.ClientAddressHeader, IPv6Prefix: c.HTTP.IPv6Prefix})
}

// proxies returns the networks of proxies that are believed.
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

// SealingKeys returns the keys that seal tickets.
func (t Tickets) SealingKeys() ([][]byte, error) {
	keys := make([][]byte, 0, len(t.Keys))
	for _, k := range t.Keys {
		key, err := sealingKey(k.Reveal())
		if err != nil {
			return nil, fmt.Errorf("edge.tickets.keys: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Loopback says whether the listener is reached from this host alone.
func (i Internal) Loopback() bool { return loopbackListen(i.Listen) }

// IsName says whether s may be the name of a process.
func IsName(s string) bool { return s != "" && checkText(rules{kind: "name"}, s) == nil }
