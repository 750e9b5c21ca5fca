package app

import (
	"net/http"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/services/edge/dialect"
	pushdialect "github.com/trunkline/trunkline/services/edge/dialect/pushserver"
	"github.com/trunkline/trunkline/services/pushserver"
)

func pushServerProtocol() protocol {
	return protocol{
		Protocol: config.Protocol{
			Name: "pushserver",
			Listeners: func(l config.Legacy) []config.Listener {
				return []config.Listener{
					{Key: "legacy.pushserver.http_listen", Address: l.PushServer.HTTP, Role: config.RoleGateway, URL: "Push server http://%s"},
					{Key: "legacy.pushserver.websocket_listen", Address: l.PushServer.WebSocket, Role: config.RoleEdge, URL: "Push server ws://%s"},
				}
			},
		},
		dialects: func(h *process) ([]dialect.Dialect, error) {
			cfg := h.cfg
			return []dialect.Dialect{pushdialect.New(cfg.LegacyOpen())}, nil
		},
		handler: func(h *process, key string, d []dialect.Dialect) http.Handler {
			if key == "legacy.pushserver.http_listen" {
				return gateway.NewPushServer(h.conns["open publish"], gateway.PushServerConfig{})
			}
			return h.legacyRoute(d)
		},
		register: func(h *process) {
			pushserver.New(h.store, pushserver.Config{
				Open: h.cfg.LegacyOpen(), Namespaces: h.cfg.Namespaces(), MaxMessage: int(h.cfg.Publish.MaxMessage), MaxChannels: h.cfg.Channels.Created,
			}).Register(h.server)
		},
	}
}
