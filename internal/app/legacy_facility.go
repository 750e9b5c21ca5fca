package app

import (
	"net/http"
	"time"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/legacy/facility"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

func defaultFacility() config.Facility {
	sessions := facility.DefaultSessions()
	return config.Facility{
		Listen: "localhost:8000", Path: facility.DefaultPath, Expire: time.Hour, Cookie: facility.DefaultCookie,
		MaxMessage: facility.DefaultMaxMessage,
		Resolver:   config.Resolver{Timeout: sessions.Timeout, Cache: sessions.Cache},
	}
}

func facilityProtocol() protocol {
	return protocol{
		Protocol: config.Protocol{
			Name: "facility",
			Listeners: func(l config.Legacy) []config.Listener {
				return []config.Listener{{Key: "legacy.facility.listen", Address: l.Facility.Listen, Role: config.RoleEdge, URL: "Facility    ws://%s" + l.Facility.Path + "FACILITY"}}
			},
			Names: func(l config.Legacy) *bus.NameRule { return facility.Names(l.Facility.Prefix) },
			Facilities: func(l config.Legacy) bus.Namespace {
				return bus.Namespace{Retain: l.Facility.Expire, MaxMessage: int(l.Facility.MaxMessage)}
			},
		},
		dialects: func(b base) ([]dialect.Dialect, error) {
			cfg := b.cfg
			f := cfg.Legacy.Facility
			var commands legacyv1.CommandServiceClient
			if len(cfg.Legacy.Commands.Allow) > 0 {
				commands = legacyv1.NewCommandServiceClient(b.conns.publish)
			}
			d, err := facility.NewSocket(facility.SocketConfig{
				Commands: commands, Refusal: func(err error) error { return rpc.Unreachable(err, bus.ErrUnavailable) },
				Path: f.Path, Cookie: f.Cookie, Heartbeat: f.Heartbeat, Expire: f.Expire, MaxMessage: int64(f.MaxMessage),
				Origins: f.AllowedOrigins, Open: cfg.LegacyOpen(),
			})
			return []dialect.Dialect{d}, err
		},
		// The dialect looks at the origin itself: a cookie is sent to every port of a host name.
		handler: func(_ base, sockets *edge.Edge, _ string, d []dialect.Dialect) http.Handler {
			return anyOrigin(sockets, d)
		},
		register: func(b base, r grpc.ServiceRegistrar) { facility.NewService(b.store).Register(r) },
		sessions: facilitySessions,
	}
}

// facilitySessions asks the site about sessions that nobody has registered; nil when it is not configured.
func facilitySessions(b base, open *closers) (bus.SessionResolver, error) {
	f := b.cfg.Legacy.Facility
	if f.Resolver.URL.Reveal() == "" {
		return nil, nil
	}
	s, err := facility.NewSessions(facility.SessionsConfig{
		URL: f.Resolver.URL.Reveal(), Cookie: f.Cookie, Name: dialect.Name, Timeout: f.Resolver.Timeout, Cache: f.Resolver.Cache,
	}, b.tel.Log)
	if err != nil {
		return nil, err
	}
	open.add(func() error { s.Close(); return nil })
	return s, nil
}
