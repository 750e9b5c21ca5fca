// Package legacy is what the program and the older protocols know of each other. Each protocol is one folder here, with
// its settings, and one line in the program's list: nothing else names it.
package legacy

import (
	"log/slog"
	"net/http"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Protocol is one older protocol. Its methods are called once the settings have been read.
type Protocol interface {
	config.Protocol
	// Dialect makes what the edge speaks.
	Dialect(h Host) (dialect.Dialect, error)
	// Handler makes what one of its listeners, by the listener's key, serves.
	Handler(h Host, key string, sockets Sockets) http.Handler
	// Register adds its gRPC services to those of the role publish.
	Register(h Host, r grpc.ServiceRegistrar)
}

// Sockets makes the handler that takes the connections of the protocol's dialect, from pages of any origin or of those
// that are configured. It is called for listeners of the role edge alone.
type Sockets func(anyOrigin bool) http.Handler

// Resolving is a protocol that knows whose the sessions are that nobody has registered.
type Resolving interface {
	// Resolver returns what is asked and what ends it; both are nil where nothing is configured.
	Resolver(h Host) (r bus.SessionResolver, end func(), err error)
}

// DefaultMaxMessage is the largest message of an older protocol, in bytes, unless another size is configured. The originals had no
// limit. One of this size still fits what clients of gRPC receive by default.
const DefaultMaxMessage = 3 << 20

// Host is what a process gives a protocol.
type Host struct {
	// Open lets everybody do what the protocol let everybody do.
	Open bool
	Log  *slog.Logger
	// Store is nil for a gateway alone.
	Store bus.Store
	// Namespaces says how channels are kept, and MaxChannels how many may be created.
	Namespaces  bus.Namespaces
	MaxChannels int
	// Charging takes what callers make the store keep from their accounts.
	Charging bus.Charging
	// Publish calls the role publish as a back end that is believed, and Callers with what a caller has sent alone.
	Publish, Callers grpc.ClientConnInterface
}
