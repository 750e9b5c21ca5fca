package app

import (
	"time"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/services/edge"
)

// The settings check the size of keys that the edge takes.
var _ [edge.TicketKeySize]byte = [config.SealingKeySize]byte{}

// Default returns the configuration of a process that is told nothing: all roles, in memory.
func Default() config.Config {
	return config.Config{
		Roles:    config.Roles(),
		Log:      config.Log{Level: "info", Format: "auto"},
		HTTP:     config.HTTP{Listen: ":8080", DrainLead: 2 * time.Second},
		GRPC:     config.GRPC{Listen: ":9090", Reflection: "auto", MaxMessage: 4 << 20},
		Internal: config.Internal{Listen: "127.0.0.1:9091"},
		Redis:    config.Redis{Prefix: "tl:"},
		Auth: config.Auth{
			Issuer: "trunkline", Audience: "trunkline",
			AccessTTL: 15 * time.Minute, MaxTTL: 24 * time.Hour, RefreshTTL: 30 * 24 * time.Hour, Revocations: config.Revocations{Lost: "expire"},
		},
		Edge: config.Edge{
			PingInterval: 25 * time.Second, HandshakeTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, CloseTimeout: 30 * time.Second, CallTimeout: 2 * time.Second,
			FrameSize: 128 << 10, QueueBytes: 1 << 20, CommandsPerSecond: 100, CommandBurst: 200,
			ChannelsPerConnection: 128, ConnectionsPerIP: 1000, ConnectsInProgress: 4096, Tickets: config.Tickets{Life: 2 * time.Minute}, DrainWindow: 5 * time.Second, DrainGrace: 25 * time.Second,
		},
		Channels: config.Channels{Created: 100_000, Defaults: config.Channel{HistoryLength: 100, HistoryAge: 10 * time.Minute, Presence: true}},
		Inbox:    config.Inbox{Limit: 10_000, Keep: 7 * 24 * time.Hour, AckTimeout: 30 * time.Second},
		Publish:  config.Publish{MaxMessage: 64 << 10, IdempotencyWindow: 10 * time.Minute},
		Hooks: config.Hooks{
			Authorizer: config.Authorizer{Timeout: time.Second, Cache: 10 * time.Second}, Events: config.Events{Length: 100_000, Age: 24 * time.Hour},
		},
		Legacy: config.Legacy{
			Commands:   config.Commands{Keys: 100, Keep: 24 * time.Hour},
			Relay:      config.Relay{HTTP: "localhost:5000", WebSocket: "localhost:7071"},
			PushServer: config.PushServer{HTTP: "localhost:5223", WebSocket: "localhost:5222"},
			Rooms:      defaultRooms(),
			Facility:   defaultFacility(),
			Protocols:  known(),
		},
	}
}

// known returns what the settings have to know of the older protocols.
func known() []config.Protocol {
	all := make([]config.Protocol, 0, len(protocols()))
	for _, p := range protocols() {
		all = append(all, p.Protocol)
	}
	return all
}

// Load reads the configuration over the defaults. It returns config.Problems, all of them at once, or a configuration
// that can be run.
func Load(src config.Sources) (*config.Loaded, error) { return config.Load(Default(), src) }
