package pushserver

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Settings is how the push protocol is spoken.
type Settings struct {
	HTTP      string `key:"http_listen" kind:"listen" doc:"Where the push server's publisher API and its script listen."`
	WebSocket string `key:"websocket_listen" kind:"listen" doc:"Where the push server's WebSockets listen."`

	MaxMessage config.Size `key:"max_message" min:"1KiB" max:"16MiB" doc:"The largest message that may be pushed; the original has no limit. A body may have three times as much and 1 MiB, and as many as four messages wait for a client that reads slowly."`
	Channels   int         `key:"channels_per_connection" min:"1" max:"1000000" doc:"How many channels one connection may be subscribed to; the original has no limit."`
}

// DefaultChannels is how many channels a connection may be subscribed to.
const DefaultChannels = 100_000

// PushServer is the protocol as the program knows it.
type PushServer struct{ Settings Settings }

var (
	_ legacy.Protocol = (*PushServer)(nil)
	_ config.Sizing   = (*PushServer)(nil)
)

// New returns the protocol with its defaults.
func New() *PushServer {
	return &PushServer{Settings{
		HTTP: "localhost:5223", WebSocket: "localhost:5222", MaxMessage: legacy.DefaultMaxMessage, Channels: DefaultChannels,
	}}
}

// Name returns "pushserver".
func (*PushServer) Name() string { return "pushserver" }

// Sections returns the settings.
func (p *PushServer) Sections() []config.Section {
	return []config.Section{{Key: "pushserver", Settings: &p.Settings}}
}

// httpListen is the key of the listener that is not for sockets.
const httpListen = "legacy.pushserver.http_listen"

// Listeners returns the two listeners.
func (p *PushServer) Listeners() []config.Listener {
	return []config.Listener{
		{Key: httpListen, Address: p.Settings.HTTP, Role: config.RoleGateway, URL: "Push server http://%s"},
		{Key: "legacy.pushserver.websocket_listen", Address: p.Settings.WebSocket, Role: config.RoleEdge, URL: "Push server ws://%s"},
	}
}

// MaxMessage is the largest message that may be pushed.
func (p *PushServer) MaxMessage() config.Size { return p.Settings.MaxMessage }

// Dialect returns the WebSocket side.
func (p *PushServer) Dialect(h legacy.Host) (dialect.Dialect, error) {
	limits := dialect.LimitsOf(int64(p.Settings.MaxMessage))
	limits.Subscriptions = p.Settings.Channels
	return NewSocket(h.Open, limits), nil
}

// Handler serves the publisher API, or sockets from pages of any origin, as it always did.
func (p *PushServer) Handler(h legacy.Host, key string, sockets legacy.Sockets) http.Handler {
	if key == httpListen {
		// JSON spells a text in at most three times its bytes, but for control characters.
		return NewHTTP(h.Callers, legacy.HTTPConfig{MaxBody: 3*int64(p.Settings.MaxMessage) + maxBodyRest})
	}
	return sockets(true)
}

// maxBodyRest is for the recipients of a message, and for what else is in a body.
const maxBodyRest = 1 << 20

// Register adds the PushServerService.
func (p *PushServer) Register(h legacy.Host, r grpc.ServiceRegistrar) {
	NewService(h.Store, ServiceConfig{
		Open: h.Open, Namespaces: h.Namespaces, MaxMessage: int(p.Settings.MaxMessage), MaxChannels: h.MaxChannels, Charging: h.Charging,
	}).Register(r)
}
