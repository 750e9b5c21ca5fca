package edge

import (
	"cmp"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/peer"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/services/edge/access"
)

// Tickets says whether connections are given resume tickets. The zero value gives none.
type Tickets = access.Tickets

const (
	// TicketKeySize is how many bytes a key of Tickets has.
	TicketKeySize = access.TicketKeySize
	// MaxTicketLife bounds Tickets.Life.
	MaxTicketLife = access.MaxTicketLife
)

// Config tunes an Edge. The zero value of a field means that of Default.
type Config struct {
	// Node is the name of this process, in presence and in Connected frames. Required.
	Node string
	// Life is the name under which the store knows this life of the process; Node by default.
	Life string
	// Namespaces says which channels keep history and list their subscribers.
	Namespaces bus.Namespaces
	// AllowedOrigins lists which pages may connect besides those of the same origin, as package origin reads it.
	AllowedOrigins []string
	// DevLoopback also allows every page served from a loopback address. Development only.
	DevLoopback bool
	// Peers says whom connections come from; by default the other end of each.
	Peers *peer.Resolver
	// FrameSize is the largest frame of a client, in bytes.
	FrameSize int64
	// QueueBytes is how much may wait for a client that reads slowly.
	QueueBytes int
	// DialectQueueBytes is how much may wait for all clients together whose dialects have queues of their own.
	DialectQueueBytes int64
	// HoldLimit is how many messages of an address are held while a subscription replays.
	HoldLimit int
	// HoldBytes bounds the same in bytes, and HoldTotal for all subscriptions of the edge. What is beyond is read from the log.
	HoldBytes, HoldTotal int
	// ShardParcels and ShardBytes bound what waits for one core's part of the connections, in messages and in bytes. What is
	// beyond is read from the log, or told as a gap.
	ShardParcels, ShardBytes int
	// ConnectTimeout is how long a client has to send connect, in whole seconds.
	ConnectTimeout time.Duration
	// PingInterval is how often a client is pinged, in whole seconds. A client that is silent for two intervals is closed.
	PingInterval time.Duration
	// WriteTimeout is how long a client may take no byte at all.
	WriteTimeout time.Duration
	// CloseTimeout is how much time a client that does not read is given to catch up. It has to read the frame that it has a
	// part of, and why its connection ends. After that time the connection is reset.
	CloseTimeout time.Duration
	// CloseWait is how long a client that reads has to answer a close frame.
	CloseWait time.Duration
	// LostGrace is how long a client whose connection was lost may take to come back before it counts as gone.
	LostGrace time.Duration
	// CallTimeout is for calls to the auth and publish services.
	CallTimeout time.Duration
	// CommandsPerSecond of one connection, and the burst on top.
	CommandsPerSecond float64
	CommandBurst      int
	// Subscriptions of one connection besides its own addresses.
	Subscriptions int
	// How many connections the process may have, and how many from one IP address; 0 for no limit.
	Connections      int
	ConnectionsPerIP int
	// How many connections one token and one user may have; 0 for no limit.
	ConnectionsPerToken, ConnectionsPerUser int
	// FramesPerSecond is how many pings, pongs and fragments of less than 256 bytes one connection may send.
	FramesPerSecond int
	// MessageTimeout is how long a client may take from the first byte of a message to its last.
	MessageTimeout time.Duration
	// Departures is how often a user may leave an address and be shown as gone at once; 60 by default. One more takes 5 s then.
	Departures int
	// EventQueue is how many connects may wait to be told as events; 65,536 by default. More are left out, and told as a gap.
	EventQueue int
	// ConnectsInProgress is how many connects are worked on at once. More are refused at once.
	ConnectsInProgress int
	// Charging takes what begins here from the accounts of clients; nil for nobody.
	Charging bus.Charging
	// Authorizer is asked about what the grants of a token allow; nil for nobody.
	Authorizer bus.Authorizer
	// Revocations ends the connections whose tokens are revoked. It belongs to the process, which runs it; by default the edge has one of its own.
	Revocations *revoked.Follower
	// Tickets lets clients reconnect without a call of the auth service; off by default.
	Tickets Tickets
	// DrainWindow is over which clients are told to move. DrainGrace is how long Run waits for them.
	DrainWindow, DrainGrace time.Duration
}

// Default returns the defaults.
func Default() Config {
	return Config{
		FrameSize: 128 << 10, QueueBytes: 1 << 20, DialectQueueBytes: 256 << 20,
		HoldLimit: 1024, HoldBytes: 1 << 20, HoldTotal: 64 << 20,
		ShardParcels: 16 << 10, ShardBytes: 32 << 20,
		ConnectTimeout: 10 * time.Second, PingInterval: 25 * time.Second,
		WriteTimeout: 10 * time.Second, CloseTimeout: 30 * time.Second, CloseWait: 3 * time.Second,
		LostGrace: bus.LostGrace, CallTimeout: 2 * time.Second,
		CommandsPerSecond: 100, CommandBurst: 200, Subscriptions: 128,
		FramesPerSecond: 1000, MessageTimeout: 30 * time.Second,
		ConnectsInProgress: 4096, Tickets: Tickets{Life: 2 * time.Minute},
		DrainWindow: 5 * time.Second, DrainGrace: 25 * time.Second,
	}
}

func (c Config) withDefaults() Config {
	d := Default()
	c.Life = cmp.Or(c.Life, c.Node)
	c.FrameSize = cmp.Or(c.FrameSize, d.FrameSize)
	c.QueueBytes = cmp.Or(c.QueueBytes, d.QueueBytes)
	c.DialectQueueBytes = cmp.Or(c.DialectQueueBytes, d.DialectQueueBytes)
	c.HoldLimit = cmp.Or(c.HoldLimit, d.HoldLimit)
	c.HoldBytes = cmp.Or(c.HoldBytes, d.HoldBytes)
	c.HoldTotal = cmp.Or(c.HoldTotal, d.HoldTotal)
	c.ShardParcels = cmp.Or(c.ShardParcels, d.ShardParcels)
	c.ShardBytes = cmp.Or(c.ShardBytes, d.ShardBytes)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, d.ConnectTimeout)
	c.PingInterval = cmp.Or(c.PingInterval, d.PingInterval)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, d.WriteTimeout)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, d.CloseTimeout)
	c.CloseWait = cmp.Or(c.CloseWait, d.CloseWait)
	c.LostGrace = cmp.Or(c.LostGrace, d.LostGrace)
	c.CallTimeout = cmp.Or(c.CallTimeout, d.CallTimeout)
	c.CommandsPerSecond = cmp.Or(c.CommandsPerSecond, d.CommandsPerSecond)
	c.CommandBurst = cmp.Or(c.CommandBurst, d.CommandBurst)
	c.Subscriptions = cmp.Or(c.Subscriptions, d.Subscriptions)
	c.FramesPerSecond = cmp.Or(c.FramesPerSecond, d.FramesPerSecond)
	c.MessageTimeout = cmp.Or(c.MessageTimeout, d.MessageTimeout)
	c.ConnectsInProgress = cmp.Or(c.ConnectsInProgress, d.ConnectsInProgress)
	c.Tickets.Life = cmp.Or(c.Tickets.Life, d.Tickets.Life)
	c.DrainWindow = cmp.Or(c.DrainWindow, d.DrainWindow)
	c.DrainGrace = cmp.Or(c.DrainGrace, d.DrainGrace)
	return c
}

func (c Config) validate() error {
	if c.Node == "" {
		return fmt.Errorf("edge: Node is empty")
	}
	if c.PingInterval < time.Second || c.ConnectTimeout < time.Second {
		return fmt.Errorf("edge: ping_interval and connect_timeout are at least 1s")
	}
	_, err := access.NewOrigins(c.AllowedOrigins, c.DevLoopback)
	return err
}
