package app

import (
	"net/http"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
	relaydialect "github.com/trunkline/trunkline/services/edge/dialect/relay"
	"github.com/trunkline/trunkline/services/relay"
)

// Relay is where the relay protocol listens.
type Relay struct {
	HTTP      string `koanf:"http_listen" kind:"listen" doc:"Where the relay's GET /token, GET /auth and POST /publish listen."`
	WebSocket string `koanf:"websocket_listen" kind:"listen" doc:"Where the relay's /ws listens."`
}

func relayProtocol() protocol {
	return protocol{
		name: "relay",
		listeners: func(l Legacy) []legacyListener {
			return []legacyListener{
				{key: "legacy.relay.http_listen", address: l.Relay.HTTP, role: RoleGateway, url: "Relay       http://%s"},
				{key: "legacy.relay.websocket_listen", address: l.Relay.WebSocket, role: RoleEdge, url: "Relay       ws://%s/ws"},
			}
		},
		dialects: func(*house) ([]dialect.Dialect, error) { return []dialect.Dialect{relaydialect.Relay{}}, nil },
		handler: func(h *house, key string, d []dialect.Dialect) http.Handler {
			if key == "legacy.relay.http_listen" {
				return gateway.NewRelay(h.conns["open publish"], gateway.RelayConfig{})
			}
			return h.legacyRoute(d)
		},
		register: func(h *house) { relay.New(h.store, relay.Config{Open: h.cfg.open()}).Register(h.server) },
		bridges:  func(Config) []bus.BridgeRule { return []bus.BridgeRule{{Channel: relay.Article, Map: relay.Map}} },
	}
}
