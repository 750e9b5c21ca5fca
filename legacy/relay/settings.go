package relay

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Settings is how the relay protocol is spoken.
type Settings struct {
	HTTP      string `key:"http_listen" kind:"listen" doc:"Where the relay's GET /token, GET /auth and POST /publish listen."`
	WebSocket string `key:"websocket_listen" kind:"listen" doc:"Where the relay's /ws listens."`

	MaxBody config.Size `key:"max_body" min:"1KiB" max:"16MiB" doc:"The largest body of POST /publish, and so the largest record; 100 KiB in the original."`
}

// Relay is the protocol as the program knows it.
type Relay struct{ Settings Settings }

var (
	_ legacy.Protocol = (*Relay)(nil)
	_ config.Bridging = (*Relay)(nil)
	_ config.Sizing   = (*Relay)(nil)
)

// New returns the protocol with its defaults.
func New() *Relay {
	return &Relay{Settings{HTTP: "localhost:5000", WebSocket: "localhost:7071", MaxBody: maxRecord}}
}

// Name returns "relay".
func (*Relay) Name() string { return "relay" }

// Sections returns the settings.
func (p *Relay) Sections() []config.Section {
	return []config.Section{{Key: "relay", Settings: &p.Settings}}
}

// httpListen is the key of the listener that is not for sockets.
const httpListen = "legacy.relay.http_listen"

// Listeners returns the two listeners.
func (p *Relay) Listeners() []config.Listener {
	return []config.Listener{
		{Key: httpListen, Address: p.Settings.HTTP, Role: config.RoleGateway, URL: "Relay       http://%s"},
		{Key: "legacy.relay.websocket_listen", Address: p.Settings.WebSocket, Role: config.RoleEdge, URL: "Relay       ws://%s/ws"},
	}
}

// Bridges returns the channel on which older producers and edges meet.
func (*Relay) Bridges() []bus.BridgeRule { return []bus.BridgeRule{{Channel: Article, Map: Map}} }

// MaxMessage is the largest record.
func (p *Relay) MaxMessage() config.Size { return p.Settings.MaxBody }

// Dialect returns the WebSocket side.
func (p *Relay) Dialect(legacy.Host) (dialect.Dialect, error) {
	return Socket{MaxRecord: int64(p.Settings.MaxBody)}, nil
}

// Handler serves the token server, or sockets from pages of any origin, as it always did.
func (p *Relay) Handler(h legacy.Host, key string, sockets legacy.Sockets) http.Handler {
	if key == httpListen {
		return NewHTTP(h.Callers, legacy.HTTPConfig{MaxBody: int64(p.Settings.MaxBody)})
	}
	return sockets(true)
}

// Register adds the RelayService.
func (p *Relay) Register(h legacy.Host, r grpc.ServiceRegistrar) {
	NewService(h.Store, ServiceConfig{Open: h.Open, MaxRecord: int(p.Settings.MaxBody), Charging: h.Charging}).Register(r)
}
