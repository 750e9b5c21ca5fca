package pushserver

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Settings is where the push protocol listens.
type Settings struct {
	HTTP      string `key:"http_listen" kind:"listen" doc:"Where the push server's publisher API and its script listen."`
	WebSocket string `key:"websocket_listen" kind:"listen" doc:"Where the push server's WebSockets listen."`
}

// PushServer is the protocol as the program knows it.
type PushServer struct{ Settings Settings }

var _ legacy.Protocol = (*PushServer)(nil)

// New returns the protocol with its defaults.
func New() *PushServer {
	return &PushServer{Settings{HTTP: "localhost:5223", WebSocket: "localhost:5222"}}
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

// Dialect returns the WebSocket side.
func (*PushServer) Dialect(h legacy.Host) (dialect.Dialect, error) { return NewSocket(h.Open), nil }

// Handler serves the publisher API, or sockets from pages of any origin, as it always did.
func (*PushServer) Handler(h legacy.Host, key string, sockets legacy.Sockets) http.Handler {
	if key == httpListen {
		return NewHTTP(h.Callers, legacy.HTTPConfig{})
	}
	return sockets(true)
}

// Register adds the PushServerService.
func (*PushServer) Register(h legacy.Host, r grpc.ServiceRegistrar) {
	NewService(h.Store, ServiceConfig{
		Open: h.Open, Namespaces: h.Namespaces, MaxMessage: h.MaxMessage, MaxChannels: h.MaxChannels, Charging: h.Charging,
	}).Register(r)
}
