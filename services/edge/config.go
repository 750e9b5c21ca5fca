package edge

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
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

// Config tunes an Edge. The zero value of a field means its default.
type Config struct {
	// Node is the name of this process, in presence and in Connected frames. Required.
	Node string
	// Run is the name under which the store knows this life of the process; Node by default.
	Run string
	// Namespaces says which channels keep history and list their subscribers.
	Namespaces bus.Namespaces
	// AllowedOrigins are scheme://host[:port] of pages that may connect besides those of the same origin; "*" allows all.
	AllowedOrigins []string
	// DevLoopback also allows every page served from a loopback address. Development only.
	DevLoopback bool
	// TrustedProxies may say in X-Forwarded-For whom a connection comes from.
	TrustedProxies []netip.Prefix
	// FrameSize is the largest frame of a client, in bytes; 128 KiB by default.
	FrameSize int64
	// QueueBytes is how much may wait for a client that reads slowly; 1 MiB by default.
	QueueBytes int
	// HoldLimit is how many messages of an address are held while a subscription replays; 1024 by default.
	HoldLimit int
	// HoldBytes bounds the same in bytes; 1 MiB by default. HoldTotal bounds it for all subscriptions of the edge; 64 MiB by
	// default. What is beyond is read from the log.
	HoldBytes, HoldTotal int
	// ShardParcels and ShardBytes bound what waits for one core's part of the connections; 16,384 messages and 32 MiB by default.
	// What is beyond is read from the log, or told as a gap.
	ShardParcels, ShardBytes int
	// ConnectTimeout is how long a client has to send connect; 10 s by default, in whole seconds.
	ConnectTimeout time.Duration
	// PingInterval is how often a client is pinged; 25 s by default, in whole seconds. A client that
	// is silent for two intervals is closed.
	PingInterval time.Duration
	// WriteTimeout is how long a client may take no byte at all; 10 s by default.
	WriteTimeout time.Duration
	// CloseTimeout is how long a client that does not read may take to read the frame that it has a part of, and why its connection
	// ends; 30 s by default. After that the connection is reset.
	CloseTimeout time.Duration
	// CloseWait is how long a client that reads has to answer a close frame; 3 s by default.
	CloseWait time.Duration
	// LostGrace is how long a client whose connection was lost may take to come back before it counts as gone; 10 s by default.
	LostGrace time.Duration
	// CallTimeout is for calls to the auth and publish services; 2 s by default.
	CallTimeout time.Duration
	// CommandsPerSecond of one connection, and the burst on top; 100 and 200 by default.
	CommandsPerSecond float64
	CommandBurst      int
	// Subscriptions of one connection besides its own addresses; 128 by default.
	Subscriptions int
	// Connections in all, and from one IP address; 0 for no limit.
	Connections      int
	ConnectionsPerIP int
	// EventQueue is how many connects may wait to be told as events; 65,536 by default. More are left out, and told as a gap.
	EventQueue int
	// ConnectsInProgress is how many connects are worked on at once; 4096 by default. More are refused at once.
	ConnectsInProgress int
	// Authorizer is asked about what the grants of a token allow; nil for nobody.
	Authorizer bus.Authorizer
	// Revocations ends the connections whose tokens are revoked. It is that of the process, which runs it; by default the edge
	// has one of its own.
	Revocations *revoked.Follower
	// Tickets lets clients reconnect without a call of the auth service; off by default.
	Tickets Tickets
	// DrainWindow is over which clients are told to move; 5 s by default. DrainGrace is how long Run waits for them; 25 s by default.
	DrainWindow, DrainGrace time.Duration
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	if c.Run == "" {
		c.Run = c.Node
	}
	if c.FrameSize <= 0 {
		c.FrameSize = 128 << 10
	}
	num(&c.QueueBytes, 1<<20)
	num(&c.HoldLimit, 1024)
	num(&c.HoldBytes, 1<<20)
	num(&c.ShardParcels, 16<<10)
	num(&c.ShardBytes, 32<<20)
	num(&c.HoldTotal, 64<<20)
	num(&c.CommandBurst, 200)
	num(&c.Subscriptions, 128)
	num(&c.ConnectsInProgress, 4096)
	if c.CommandsPerSecond <= 0 {
		c.CommandsPerSecond = 100
	}
	def(&c.ConnectTimeout, 10*time.Second)
	def(&c.PingInterval, 25*time.Second)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.CloseTimeout, 30*time.Second)
	def(&c.CloseWait, 3*time.Second)
	def(&c.CallTimeout, 2*time.Second)
	def(&c.Tickets.Life, 2*time.Minute)
	def(&c.LostGrace, bus.LostGrace)
	def(&c.DrainWindow, 5*time.Second)
	def(&c.DrainGrace, 25*time.Second)
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
