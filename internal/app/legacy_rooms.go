package app

import (
	"net/http"
	"strings"
	"time"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	roomsdialect "github.com/trunkline/trunkline/services/edge/dialect/rooms"
	"github.com/trunkline/trunkline/services/rooms"
)

// Rooms is how the rooms protocol is spoken.
type Rooms struct {
	Listen     string        `koanf:"listen" kind:"listen" doc:"Where the /ws/{room} and GET /roomid of the rooms protocol listen. The relay's HTTP may listen there too."`
	Delivery   string        `koanf:"delivery" oneof:"broadcast,addressed" doc:"Who gets a message that names its addressee: broadcast is everybody, as in the original; addressed is nobody else."`
	Scope      string        `koanf:"scope" oneof:"all,room" doc:"all puts the connections of all rooms together, as the original does; room keeps each room apart."`
	AckTimeout time.Duration `koanf:"ack_timeout" min:"100ms" max:"1h" doc:"How long an addressee's ack may take before the message counts as stored."`
	Keep       time.Duration `koanf:"keep" min:"1s" max:"720h" doc:"How long a message waits for its addressee."`
	BindIDs    bool          `koanf:"bind_ids" doc:"Lets clients take no ids but those of their tokens; without legacy.open it is always so."`
	AnyOrigin  bool          `koanf:"any_origin" doc:"Lets pages of any origin connect, as the original does; otherwise those of edge.allowed_origins."`
}

func defaultRooms() Rooms {
	return Rooms{
		Listen: "localhost:5000", Delivery: "broadcast", Scope: "all",
		AckTimeout: 30 * time.Second, Keep: 7 * 24 * time.Hour, AnyOrigin: true,
	}
}

// roomID is the path of the counter.
const roomID = "/roomid"

func roomsProtocol() protocol {
	return protocol{
		name: "rooms",
		listeners: func(l Legacy) []legacyListener {
			return []legacyListener{{
				key: "legacy.rooms.listen", address: l.Rooms.Listen, role: RoleEdge, url: "Rooms       ws://%s/ws/1",
				takes: func(path string) bool { return path == roomID || strings.HasPrefix(path, roomsdialect.Path) },
			}}
		},
		dialects: func(h *house) ([]dialect.Dialect, error) {
			cfg := h.cfg
			r := cfg.Legacy.Rooms
			return []dialect.Dialect{roomsdialect.New(roomsdialect.Config{
				Open: cfg.open(), Addressed: r.Delivery == "addressed", Apart: r.Scope == "room", BindIDs: r.BindIDs,
				AckTimeout: r.AckTimeout, Keep: r.Keep,
			})}, nil
		},
		handler: func(h *house, _ string, d []dialect.Dialect) http.Handler {
			sockets := h.edge.Handler(edge.Route{Dialects: d, AnyOrigin: h.cfg.Legacy.Rooms.AnyOrigin})
			counter := gateway.NewRoomID(h.conns["open publish"])
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && r.URL.Path == roomID {
					counter.ServeHTTP(w, r)
					return
				}
				sockets.ServeHTTP(w, r)
			})
		},
		register:  func(h *house) { rooms.New(h.store, rooms.Config{Open: h.cfg.open()}).Register(h.server) },
		namespace: roomsdialect.Namespace,
	}
}
