package redis

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// Least is a durability, with the number of replicas where it is Replicated.
type Least = server.Least

// DefaultPrefix begins every name unless another one is configured.
const DefaultPrefix = "tl:"

// Config says where Redis is. The zero value of a field means its default.
type Config struct {
	// URL says where the servers are, as redisurl.Parse reads it. Channels have the number of the database in their names,
	// because pub/sub of Redis knows no databases.
	URL string
	// Reread returns the URL anew, for a password that changes. It is called for each new connection, whose user and password
	// are the ones it returns; nil for a URL that stays.
	Reread func() (string, error)
	// SentinelUser and SentinelPassword sign in at sentinels, which know nothing of the users of their servers.
	SentinelUser, SentinelPassword string
	// CA is PEM certificates that servers are checked against; the system's by default.
	CA []byte
	// Certificate returns the certificate that servers ask for; nil where they do not. It is called for each new connection.
	Certificate func() (*tls.Certificate, error)
	// Prefix begins every name; DefaultPrefix unless set.
	Prefix string
	// Timeout is for every call; 2 s by default.
	Timeout time.Duration
	// Now is the clock of this process, with which the servers' time is estimated; time.Now by default.
	Now func() time.Time
	// MetaTTL is how long the epoch of an address outlives its last use; 30 days by default.
	MetaTTL time.Duration
	// Least says how durable everything is that is published to an address, whoever publishes; nil for Live everywhere. Where it
	// is Replicated, with as many replicas as there are, a failover loses nothing that was acknowledged. Where it is Fsynced, a
	// restart loses nothing that was acknowledged.
	Least func(bus.Address) Least
	// Replicas is how many replicas each master must have in step to count as ready; 0 for none.
	Replicas int
	// Fsync makes a server that cannot give FSYNCED, or cannot be asked whether it does, count as not ready.
	Fsync bool
	// AllowEviction lets a server evict. Without it, one with a maxmemory-policy other than noeviction counts as not ready.
	AllowEviction bool
	// MaxMessage is the largest payload that any door lets in, in bytes; 0 for no bound. A larger one that is read was not
	// published here, and is dropped.
	MaxMessage int
	// Events is how the log of events is kept; without it nothing is told.
	Events bus.Retention
	// Bridges are raw Redis channels of other programs.
	Bridges []bus.BridgeRule
	// Aliases are the channels that addresses share with other programs. It has no effect in a Cluster: those programs
	// know of none.
	Aliases bus.Aliases
	// Metrics takes the store's metrics; none are registered without it.
	Metrics prometheus.Registerer
}
