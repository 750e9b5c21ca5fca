package facility

import (
	"net/http"
	"time"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Commands is what command frames may do.
type Commands struct {
	Allow []string      `key:"allow" oneof:"GET,SET,DEL,INCR,EXPIRE,TTL" doc:"The store commands that clients may send in command frames, on values of their own; none when empty."`
	Keys  int           `key:"keys" min:"1" max:"10000" doc:"How many keys one session may have."`
	Keep  time.Duration `key:"keep" min:"1s" max:"720h" doc:"How long its values are kept after the last change."`
}

// Settings is the protocol of facilities and audiences.
type Settings struct {
	Listen         string        `key:"listen" kind:"listen" doc:"Where its sockets listen."`
	Path           string        `key:"path" doc:"What comes before the facility in the path."`
	Prefix         string        `key:"prefix" doc:"What names in Redis begin with, without the colon behind it; the same as its Python programs have."`
	Default        string        `key:"default" doc:"What a socket asks for whose query names no audience, as a query: subscribe-broadcast for a server that sends everything to everybody; nothing when empty."`
	Expire         time.Duration `key:"expire" min:"0s" max:"720h" doc:"How long the last message of each audience is kept; 0 for not at all."`
	Heartbeat      string        `key:"heartbeat" doc:"What is sent every four seconds, and swallowed from clients; nothing when empty. The same as its clients have."`
	Cookie         string        `key:"cookie" doc:"The cookie that holds the session's key."`
	MaxMessage     config.Size   `key:"max_message" min:"1KiB" max:"16MiB" doc:"The largest message to a facility; the original has no limit. As many as four of them wait for a client that reads slowly."`
	AllowedOrigins []string      `key:"allowed_origins" kind:"origin" doc:"Origins of pages and apps that may connect besides those of the same host name, written as in edge.allowed_origins; * for all."`
	Resolver       Resolver      `key:"resolver"`
}

// Resolver is the site's own answer to whose a session is.
type Resolver struct {
	URL     config.Secret `key:"url" doc:"Answers GET with a session's cookie: {\"user\":…,\"groups\":[…]}, or 401, 403 or 404. Asked, by the role auth, about sessions that nobody has registered; nobody when empty."`
	Timeout time.Duration `key:"timeout" min:"1ms" max:"1m" doc:"How long it may take; without an answer nobody is let in."`
	Cache   time.Duration `key:"cache" min:"1ms" max:"1h" doc:"For how long an answer is believed."`
}

// Facility is the protocol as the program knows it.
type Facility struct {
	Settings Settings
	Commands Commands
}

var (
	_ legacy.Protocol  = (*Facility)(nil)
	_ legacy.Resolving = (*Facility)(nil)
	_ config.Aliasing  = (*Facility)(nil)
	_ config.Keeping   = (*Facility)(nil)
	_ config.Sizing    = (*Facility)(nil)
)

// New returns the protocol with its defaults.
func New() *Facility {
	sessions := DefaultSessions()
	return &Facility{
		Commands: Commands{Keys: DefaultKeys, Keep: DefaultKeep},
		Settings: Settings{
			Listen: "localhost:8000", Path: DefaultPath, Expire: time.Hour, Cookie: DefaultCookie, MaxMessage: DefaultMaxMessage,
			Resolver: Resolver{Timeout: sessions.Timeout, Cache: sessions.Cache},
		},
	}
}

// Name returns "facility".
func (*Facility) Name() string { return protocol }

// Sections returns the settings, also those of command frames.
func (p *Facility) Sections() []config.Section {
	return []config.Section{{Key: "commands", Settings: &p.Commands}, {Key: "facility", Settings: &p.Settings}}
}

// Listeners returns the one listener.
func (p *Facility) Listeners() []config.Listener {
	return []config.Listener{{
		Key: "legacy.facility.listen", Address: p.Settings.Listen, Role: config.RoleEdge,
		URL: "Facility    ws://%s" + p.Settings.Path + "FACILITY",
	}}
}

// Alias returns the name in Redis by which older programs know an address.
func (p *Facility) Alias(a bus.Address) bus.Alias {
	if name, ok := NewNames(p.Settings.Prefix).Name(a); ok {
		return audience{name: name, to: a}
	}
	return nil
}

// Facilities is how the topics of audiences are kept.
func (p *Facility) Facilities() bus.Namespace {
	return bus.Namespace{Retain: p.Settings.Expire, MaxMessage: int(p.Settings.MaxMessage)}
}

// MaxMessage is the largest message to a facility.
func (p *Facility) MaxMessage() config.Size { return p.Settings.MaxMessage }

// Dialect returns the WebSocket side.
func (p *Facility) Dialect(h legacy.Host) (dialect.Dialect, error) {
	var commands legacyv1.CommandServiceClient
	if len(p.Commands.Allow) > 0 {
		commands = legacyv1.NewCommandServiceClient(h.Publish)
	}
	f := p.Settings
	if err := checkPrefix(f.Prefix); err != nil {
		return nil, err
	}
	return NewSocket(SocketConfig{
		Commands: commands, Refusal: func(err error) error { return rpc.Unreachable(err, bus.ErrUnavailable) },
		Path: f.Path, Cookie: f.Cookie, Heartbeat: f.Heartbeat, Default: f.Default, Expire: f.Expire, MaxMessage: int64(f.MaxMessage),
		Origins: f.AllowedOrigins, Open: h.Open,
	})
}

// Handler serves sockets. The dialect looks at the origin itself: a cookie is sent to every port of a host name.
func (*Facility) Handler(_ legacy.Host, _ string, sockets legacy.Sockets) http.Handler {
	return sockets(true)
}

// Register adds the FacilityService and the CommandService.
func (p *Facility) Register(h legacy.Host, r grpc.ServiceRegistrar) {
	NewService(h.Store, h.Charging).Register(r)
	NewCommandService(h.Store, CommandConfig(p.Commands), h.Charging).Register(r)
}

// Resolver asks the site about sessions that nobody has registered.
func (p *Facility) Resolver(h legacy.Host) (bus.SessionResolver, func(), error) {
	r := p.Settings.Resolver
	if r.URL.Reveal() == "" {
		return nil, nil, nil
	}
	s, err := NewSessions(SessionsConfig{
		URL: r.URL.Reveal(), Cookie: p.Settings.Cookie, Name: dialect.Name, Timeout: r.Timeout, Cache: r.Cache,
	}, h.Log)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}
