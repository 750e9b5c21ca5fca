package app

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/peer"
	"github.com/trunkline/trunkline/internal/quota"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/edge"
)

// The settings check the size of keys that the edge takes.
var _ [edge.TicketKeySize]byte = [config.SealingKeySize]byte{}

// Default returns the configuration of a process that is told nothing: all roles, in memory. Packages that have a default of
// their own say it here.
func Default() config.Config {
	channel, inbox, asked, used := bus.DefaultNamespace(), bus.DefaultInbox(), hooks.Default(), quota.Default()
	return config.Config{
		Roles: config.Roles(),
		Log:   config.Log{Level: "info", Format: "auto"},
		HTTP: config.HTTP{
			Listen: ":8080", ClientAddressHeader: peer.XForwardedFor, IPv6Prefix: peer.DefaultIPv6Prefix, IdleTimeout: 650 * time.Second,
		},
		ShutdownDelay: 5 * time.Second,

		GRPC:     config.GRPC{Listen: ":9090", Reflection: "auto", MaxMessage: rpc.DefaultMaxMessage},
		Streams:  config.Streams{PerToken: 100, PerUser: 500, PerIP: 1000, PerKey: 10_000, Heartbeat: rpc.DefaultHeartbeat},
		Internal: config.Internal{Listen: "127.0.0.1:9091"},
		Redis:    config.Redis{Prefix: redis.DefaultPrefix},
		Auth:     defaultAuth(),
		Edge:     defaultEdge(),
		Channels: config.Channels{
			Created:  bus.DefaultMaxChannels,
			Defaults: config.Channel{HistoryLength: channel.Retention.Length, HistoryAge: channel.Retention.Age, Addresses: channel.AddressesPerHour, Kept: channel.Addresses, Presence: channel.Presence},
		},
		Inbox:    config.Inbox{Limit: inbox.Limit, Keep: inbox.Keep, AckTimeout: inbox.AckTimeout},
		Publish:  config.Publish{MaxMessage: bus.DefaultMaxMessage, MaxState: bus.DefaultMaxState, IdempotencyWindow: bus.DefaultWindow},
		Presence: config.Presence{MaxMembersInEvents: bus.MaxMembersInEvents},
		Quotas:   config.Quotas{Client: allowed(used.Client), Key: allowed(used.Key), Stranger: allowed(used.Stranger)},
		Hooks: config.Hooks{
			Authorizer: config.Authorizer{Timeout: asked.Timeout, Cache: asked.Cache},
			Events:     config.Events{Length: 100_000, Age: 24 * time.Hour, Share: 10},
		},
		Legacy: config.Legacy{Protocols: protocols(), QueueBytes: config.Size(edge.Default().DialectQueueBytes)},
	}
}

func allowed(a quota.Allowance) config.Allowance {
	return config.Allowance{
		Messages: a.Messages, Bytes: config.Size(a.Bytes), IdempotencyKeys: a.IdempotencyKeys, Subscriptions: a.Subscriptions,
		Addresses: a.Addresses, Tokens: a.Tokens, Revocations: a.Revocations, Channels: a.Channels,
	}
}

func defaultAuth() config.Auth {
	a := auth.Default()
	return config.Auth{
		Issuer: a.Issuer, Audience: a.Audience, AccessTTL: a.AccessTTL, MaxTTL: a.MaxTTL, RefreshTTL: a.RefreshTTL, Leeway: a.Leeway,
		Revocations: config.Revocations{Lost: string(a.LostRevocations)},
	}
}

func defaultEdge() config.Edge {
	e := edge.Default()
	return config.Edge{
		PingInterval: e.PingInterval, HandshakeTimeout: e.ConnectTimeout, WriteTimeout: e.WriteTimeout, CloseTimeout: e.CloseTimeout,
		CallTimeout: e.CallTimeout, FrameSize: config.Size(e.FrameSize), QueueBytes: config.Size(e.QueueBytes),
		CommandsPerSecond: e.CommandsPerSecond, CommandBurst: e.CommandBurst, ChannelsPerConnection: e.Subscriptions,
		ConnectionsPerIP: 1000, ConnectionsPerToken: 1000, ConnectionsPerUser: 10_000,
		FramesPerSecond: e.FramesPerSecond, MessageTimeout: e.MessageTimeout, ConnectsInProgress: e.ConnectsInProgress, Tickets: config.Tickets{Life: e.Tickets.Life},
		DrainWindow: e.DrainWindow, DrainGrace: e.DrainGrace,
	}
}

// Load reads the configuration over the defaults, and builds what Run builds. It returns config.Problems, or a configuration
// that can be run. So a check and a start refuse the same, in the same words.
func Load(src config.Sources) (*config.Loaded, error) {
	loaded, err := config.Load(Default(), src)
	if err != nil {
		return nil, err
	}
	if err := tryBuild(loaded.Config); err != nil {
		return nil, loaded.Explain(err)
	}
	return loaded, nil
}
