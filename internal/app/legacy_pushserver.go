package app

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/legacy/pushserver"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
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
		dialects: func(b base) ([]dialect.Dialect, error) {
			cfg := b.cfg
			return []dialect.Dialect{pushserver.NewSocket(cfg.LegacyOpen())}, nil
		},
		handler: func(b base, sockets *edge.Edge, key string, d []dialect.Dialect) http.Handler {
			if key == "legacy.pushserver.http_listen" {
				return pushserver.NewHTTP(b.conns.openPublish, legacy.HTTPConfig{})
			}
			return anyOrigin(sockets, d)
		},
		register: func(b base, r grpc.ServiceRegistrar) {
			pushserver.NewService(b.store, pushserver.ServiceConfig{
				Open: b.cfg.LegacyOpen(), Namespaces: b.cfg.Namespaces(), MaxMessage: int(b.cfg.Publish.MaxMessage), MaxChannels: b.cfg.Channels.Created,
			}).Register(r)
		},
	}
}
