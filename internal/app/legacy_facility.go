package app

import (
	"net/http"
	"time"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	facilitydialect "github.com/trunkline/trunkline/services/edge/dialect/facility"
	"github.com/trunkline/trunkline/services/facility"
)

// Facility is the protocol of facilities and audiences.
type Facility struct {
	Listen         string        `koanf:"listen" kind:"listen" doc:"Where its sockets listen."`
	Path           string        `koanf:"path" doc:"What comes before the facility in the path."`
	Prefix         string        `koanf:"prefix" doc:"What names in Redis begin with, without the colon behind it; the same as its Python programs have."`
	Expire         time.Duration `koanf:"expire" min:"0s" max:"720h" doc:"How long the last message of each audience is kept; 0 for not at all."`
	Heartbeat      string        `koanf:"heartbeat" doc:"What is sent every four seconds, and swallowed from clients; nothing when empty. The same as its clients have."`
	Cookie         string        `koanf:"cookie" doc:"The cookie that holds the session's key."`
	MaxMessage     Size          `koanf:"max_message" min:"1KiB" max:"3MiB" doc:"The largest message of a client."`
	AllowedOrigins []string      `koanf:"allowed_origins" kind:"origin" doc:"Origins of pages that may connect besides those of the same host name; * for all."`
	Resolver       Resolver      `koanf:"resolver"`
}

// Resolver is the site's own answer to whose a session is.
type Resolver struct {
	URL     Secret        `koanf:"url" doc:"Answers GET with a session's cookie: {\"user\":…,\"groups\":[…]}, or 401, 403 or 404. Asked, by the role auth, about sessions that nobody has registered; nobody when empty."`
	Timeout time.Duration `koanf:"timeout" min:"1ms" max:"1m" doc:"How long it may take; without an answer nobody is let in."`
	Cache   time.Duration `koanf:"cache" min:"1ms" max:"1h" doc:"For how long an answer is believed."`
}

func defaultFacility() Facility {
	return Facility{
		Listen: "localhost:8000", Path: "/ws/", Expire: time.Hour, Cookie: "sessionid", MaxMessage: 1 << 20,
		Resolver: Resolver{Timeout: time.Second, Cache: 10 * time.Second},
	}
}

func facilityProtocol() protocol {
	return protocol{
		name: "facility",
		listeners: func(l Legacy) []legacyListener {
			return []legacyListener{{key: "legacy.facility.listen", address: l.Facility.Listen, role: RoleEdge, url: "Facility    ws://%s" + l.Facility.Path + "FACILITY"}}
		},
		dialects: func(h *house) ([]dialect.Dialect, error) {
			cfg := h.cfg
			f := cfg.Legacy.Facility
			var commands legacyv1.CommandServiceClient
			if len(cfg.Legacy.Commands.Allow) > 0 {
				commands = legacyv1.NewCommandServiceClient(h.conns[RolePublish])
			}
			d, err := facilitydialect.New(facilitydialect.Config{
				Commands: commands, Refusal: func(err error) error { return rpc.Unreachable(err, bus.ErrUnavailable) },
				Path: f.Path, Cookie: f.Cookie, Heartbeat: f.Heartbeat, Expire: f.Expire, MaxMessage: int64(f.MaxMessage),
				Origins: f.AllowedOrigins, Open: cfg.open(),
			})
			return []dialect.Dialect{d}, err
		},
		// The dialect looks at the origin itself: a cookie is sent to every port of a host name.
		handler: func(h *house, _ string, d []dialect.Dialect) http.Handler {
			return h.edge.Handler(edge.Route{Dialects: d, AnyOrigin: true})
		},
		register: func(h *house) { facility.New(h.store).Register(h.server) },
	}
}

// facilities is what is configured for the topics of audiences.
func (c Config) facilities() bus.Namespace {
	if !c.speaks("facility") {
		return bus.Namespace{}
	}
	return bus.Namespace{Retain: c.Legacy.Facility.Expire, MaxMessage: int(c.Legacy.Facility.MaxMessage)}
}

// facilityNames returns the names that Redis shares with programs of the older system; nil for none.
func (c Config) facilityNames() *bus.NameRule {
	if !c.speaks("facility") {
		return nil
	}
	return facilitydialect.Names(c.Legacy.Facility.Prefix)
}

// resolver is who is asked about sessions that nobody has registered; nil for nobody.
func (h *house) resolver() (bus.SessionResolver, error) {
	r := h.cfg.Legacy.Facility.Resolver
	if !h.cfg.speaks("facility") || r.URL.Reveal() == "" {
		return nil, nil
	}
	s, err := hooks.NewSessions(hooks.SessionsConfig{
		URL: r.URL.Reveal(), Cookie: h.cfg.Legacy.Facility.Cookie, Name: dialect.Name, Timeout: r.Timeout, Cache: r.Cache,
	}, h.tel.Log)
	if err != nil {
		return nil, err
	}
	h.ends = append(h.ends, s.Close)
	return s, nil
}
