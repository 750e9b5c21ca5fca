package behind

import (
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Store is what is told.
type Store interface {
	bus.Inboxes
	bus.Roster
	bus.Reaper
	bus.Connections
	bus.Publisher
}

// Config says for whom the store is told, and within which times.
type Config struct {
	// Node is the name of this process, and Life the name under which the store knows this life of it.
	Node, Life string
	// Namespaces says which channels list their subscribers, and whether events are kept.
	Namespaces bus.Namespaces
	// CallTimeout is for one call of the store.
	CallTimeout time.Duration
	// LostGrace is how long a lost connection stays in rosters.
	LostGrace time.Duration
	// Departures is how often a user may leave an address and be shown as gone at once; 60 by default.
	Departures int
	// Events is how many connects may wait to be told; 65,536 by default.
	Events int
	// Logger is told what the store does not take.
	Logger *slog.Logger
	// Relist joins every subscription of an address on this node again, by Roster.Join.
	Relist func(bus.Address)
}
