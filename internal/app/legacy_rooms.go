package app

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy/rooms"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

func defaultRooms() config.Rooms {
	return config.Rooms{
		Listen: "localhost:5000", Delivery: "broadcast", Scope: "all",
		AckTimeout: 30 * time.Second, Keep: 7 * 24 * time.Hour, AnyOrigin: true,
	}
}

// roomID is the path of the counter.
const roomID = "/roomid"

func roomsProtocol() protocol {
	return protocol{
		Protocol: config.Protocol{
			Name: "rooms",
			Listeners: func(l config.Legacy) []config.Listener {
				return []config.Listener{{
					Key: "legacy.rooms.listen", Address: l.Rooms.Listen, Role: config.RoleEdge, URL: "Rooms       ws://%s/ws/1",
					Takes: func(path string) bool { return path == roomID || strings.HasPrefix(path, rooms.Path) },
				}}
			},
			Namespace: rooms.Namespace,
		},
		dialects: func(b base) ([]dialect.Dialect, error) {
			cfg := b.cfg
			r := cfg.Legacy.Rooms
			return []dialect.Dialect{rooms.NewSocket(rooms.SocketConfig{
				Open: cfg.LegacyOpen(), Addressed: r.Delivery == "addressed", Apart: r.Scope == "room", BindIDs: r.BindIDs,
				AckTimeout: r.AckTimeout, Keep: r.Keep,
			})}, nil
		},
		handler: func(b base, sockets *edge.Edge, _ string, d []dialect.Dialect) http.Handler {
			ws := sockets.Handler(edge.Route{Dialects: d, AnyOrigin: b.cfg.Legacy.Rooms.AnyOrigin})
			counter := rooms.NewHTTP(b.conns.openPublish)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && r.URL.Path == roomID {
					counter.ServeHTTP(w, r)
					return
				}
				ws.ServeHTTP(w, r)
			})
		},
		register: func(b base, r grpc.ServiceRegistrar) {
			rooms.NewService(b.store, rooms.ServiceConfig{Open: b.cfg.LegacyOpen()}).Register(r)
		},
	}
}
