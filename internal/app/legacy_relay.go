package app

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/legacy/relay"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

func relayProtocol() protocol {
	return protocol{
		Protocol: config.Protocol{
			Name: "relay",
			Listeners: func(l config.Legacy) []config.Listener {
				return []config.Listener{
					{Key: "legacy.relay.http_listen", Address: l.Relay.HTTP, Role: config.RoleGateway, URL: "Relay       http://%s"},
					{Key: "legacy.relay.websocket_listen", Address: l.Relay.WebSocket, Role: config.RoleEdge, URL: "Relay       ws://%s/ws"},
				}
			},
			Bridges: []bus.BridgeRule{{Channel: relay.Article, Map: relay.Map}},
		},
		dialects: func(base) ([]dialect.Dialect, error) { return []dialect.Dialect{relay.Socket{}}, nil },
		handler: func(b base, sockets *edge.Edge, key string, d []dialect.Dialect) http.Handler {
			if key == "legacy.relay.http_listen" {
				return relay.NewHTTP(b.conns.openPublish, legacy.HTTPConfig{})
			}
			return anyOrigin(sockets, d)
		},
		register: func(b base, r grpc.ServiceRegistrar) {
			relay.NewService(b.store, relay.ServiceConfig{Open: b.cfg.LegacyOpen()}).Register(r)
		},
	}
}
