package app

import (
	"net/http"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/services/edge/dialect"
	pushdialect "github.com/trunkline/trunkline/services/edge/dialect/pushserver"
	"github.com/trunkline/trunkline/services/pushserver"
)

// PushServer is where the push protocol listens.
type PushServer struct {
	HTTP      string `koanf:"http_listen" kind:"listen" doc:"Where the push server's publisher API and its script listen."`
	WebSocket string `koanf:"websocket_listen" kind:"listen" doc:"Where the push server's WebSockets listen."`
}

func pushServerProtocol() protocol {
	return protocol{
		name: "pushserver",
		listeners: func(l Legacy) []legacyListener {
			return []legacyListener{
				{key: "legacy.pushserver.http_listen", address: l.PushServer.HTTP, role: RoleGateway, url: "Push server http://%s"},
				{key: "legacy.pushserver.websocket_listen", address: l.PushServer.WebSocket, role: RoleEdge, url: "Push server ws://%s"},
			}
		},
		dialects: func(h *house) ([]dialect.Dialect, error) {
			cfg := h.cfg
			return []dialect.Dialect{pushdialect.New(cfg.open())}, nil
		},
		handler: func(h *house, key string, d []dialect.Dialect) http.Handler {
			if key == "legacy.pushserver.http_listen" {
				return gateway.NewPushServer(h.conns["open publish"], gateway.PushServerConfig{})
			}
			return h.legacyRoute(d)
		},
		register: func(h *house) {
			pushserver.New(h.store, pushserver.Config{
				Open: h.cfg.open(), Namespaces: h.cfg.namespaces(), MaxMessage: int(h.cfg.Publish.MaxMessage), MaxChannels: h.cfg.Channels.Created,
			}).Register(h.server)
		},
	}
}
