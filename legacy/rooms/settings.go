package rooms

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Settings is how the rooms protocol is spoken.
type Settings struct {
	Listen     string        `key:"listen" kind:"listen" doc:"Where the /ws/{room} and GET /roomid of the rooms protocol listen. The relay's HTTP may listen there too."`
	Delivery   string        `key:"delivery" oneof:"broadcast,addressed" doc:"Whether a message that names its addressee also goes to everybody else, as in the original (broadcast), or to nobody else (addressed)."`
	Scope      string        `key:"scope" oneof:"all,room" doc:"all puts the connections of all rooms together, as the original does; room keeps each room apart."`
	AckTimeout time.Duration `key:"ack_timeout" min:"100ms" max:"1h" doc:"How long an addressee's ack may take before the message counts as stored."`
	Keep       time.Duration `key:"keep" min:"1s" max:"720h" doc:"How long a message waits for its addressee."`
	MaxMessage config.Size   `key:"max_message" min:"1KiB" max:"16MiB" doc:"The largest data of a command; the original has no limit. As many as four of them wait for a client that reads slowly."`
	BindIDs    bool          `key:"bind_ids" doc:"Lets clients take no ids but those of their tokens; without legacy.open it is always so."`
	AnyOrigin  bool          `key:"any_origin" doc:"Lets pages of any origin connect, as the original does; otherwise those of edge.allowed_origins."`
}

// Rooms is the protocol as the program knows it.
type Rooms struct{ Settings Settings }

var (
	_ legacy.Protocol = (*Rooms)(nil)
	_ config.Meeting  = (*Rooms)(nil)
	_ config.Sizing   = (*Rooms)(nil)
)

// New returns the protocol with its defaults.
func New() *Rooms {
	return &Rooms{Settings{
		Listen: "localhost:5000", Delivery: "broadcast", Scope: "all",
		AckTimeout: 30 * time.Second, Keep: 7 * 24 * time.Hour, AnyOrigin: true,
		MaxMessage: legacy.DefaultMaxMessage,
	}}
}

// Name returns "rooms".
func (*Rooms) Name() string { return "rooms" }

// Sections returns the settings.
func (p *Rooms) Sections() []config.Section {
	return []config.Section{{Key: "rooms", Settings: &p.Settings}}
}

// roomID is the path of the counter.
const roomID = "/roomid"

// Listeners returns the one listener, for sockets and the counter.
func (p *Rooms) Listeners() []config.Listener {
	return []config.Listener{{
		Key: "legacy.rooms.listen", Address: p.Settings.Listen, Role: config.RoleEdge, URL: "Rooms       ws://%s/ws/1",
		Takes: func(path string) bool { return path == roomID || strings.HasPrefix(path, Path) },
	}}
}

// Namespace is for the channels on which connections meet.
func (*Rooms) Namespace() string { return Namespace }

// MaxMessage is the largest data of a command.
func (p *Rooms) MaxMessage() config.Size { return p.Settings.MaxMessage }

// Dialect returns the WebSocket side.
func (p *Rooms) Dialect(h legacy.Host) (dialect.Dialect, error) {
	return NewSocket(SocketConfig{
		Open: h.Open, Addressed: p.Settings.Delivery == "addressed", Apart: p.Settings.Scope == "room", BindIDs: p.Settings.BindIDs,
		AckTimeout: p.Settings.AckTimeout, Keep: p.Settings.Keep,
		MaxMessage: int64(p.Settings.MaxMessage),
	}), nil
}

// Handler serves sockets, and the counter at its path.
func (p *Rooms) Handler(h legacy.Host, _ string, sockets legacy.Sockets) http.Handler {
	ws, counter := sockets(p.Settings.AnyOrigin), NewHTTP(h.Callers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == roomID {
			counter.ServeHTTP(w, r)
			return
		}
		ws.ServeHTTP(w, r)
	})
}

// Register adds the RoomsService.
func (*Rooms) Register(h legacy.Host, r grpc.ServiceRegistrar) {
	NewService(h.Store, ServiceConfig{Open: h.Open}).Register(r)
}
