// Package links keeps the subscriptions of a store: on connections of its own, which it reads itself, and which follow the slots of a
// Cluster. It knows channels and addresses; what stands on the channels is told by its Config.
package links

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Config is what links are told of the store that they belong to. Everything but Bridges is required.
type Config struct {
	// Client is of a single server or of a Cluster.
	Client redis.UniversalClient
	// Timeout is for a connection to be made, and for a probe to be sent.
	Timeout time.Duration
	// Bridges are raw channels of other programs.
	Bridges []bus.BridgeRule
	// Metrics counts interruptions.
	Metrics *Metrics
	// Log is told of connections that were lost.
	Log *slog.Logger

	// Channel is the channel of an address, and Alias another one that it has for other programs; empty when it has none.
	Channel, Alias func(bus.Address) string
	// Probe and Life are channels of the connection itself: for its probe, and for the life of its server.
	Probe, Life func(id string) string

	// Decode reads what came on the channel of an address. The message is nil for anything that is not one. The result
	// copied says that the same one comes on the alias of the address next. That may be so of what cannot be read, too.
	Decode func(to bus.Address, payload []byte) (m *bus.Message, copied bool)
	// DecodeAlias reads what came on the alias of an address; false for nothing of use.
	DecodeAlias func(to bus.Address, payload []byte) (*bus.Message, bool)
	// Send carries out a command on the way that publishes take.
	Send func(context.Context, redis.Cmder) error
	// Saw is told how many replicas a master has in a life.
	Saw func(life string, replicas int)
}
