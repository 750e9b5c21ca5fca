package config

import (
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// Legacy is the older protocols.
type Legacy struct {
	Dialects []string `key:"dialects" kind:"protocol" doc:"The older protocols that are spoken."`
	Open     bool     `key:"open" doc:"Lets everybody do, outside development mode, what the older protocols let everybody do; without it they ask for tokens and API keys."`

	QueueBytes Size `key:"queue_bytes" min:"1MiB" max:"64GiB" doc:"How much may wait in all for clients of the older protocols that read slowly. Beyond it, the client for which the most waits is sent away. Unless it is set, it is raised to what one client may need."`

	// Protocols are the older protocols that there are, each with its settings; the program brings them with the defaults.
	Protocols []Protocol `key:"-"`
}

// Protocol is what the settings have to know of an older protocol.
type Protocol interface {
	// Name is what legacy.dialects calls it.
	Name() string
	// Sections returns where its settings are.
	Sections() []Section
	// Listeners returns where it listens, by its settings.
	Listeners() []Listener
}

// Section is settings of an older protocol. It keeps them itself, so that nothing here names it.
type Section struct {
	// Key names the section below legacy.
	Key string
	// Settings points to a struct.
	Settings any
}

// Listener is one listener of an older protocol.
type Listener struct {
	Key, Address string
	Role         string
	// URL shows where it is reached, with %s for host:port.
	URL string
	// Takes says which paths are its own where it shares an address; nil for what no other takes.
	Takes func(path string) bool
}

// Bridging is a protocol that reads channels of Redis that older programs write.
type Bridging interface {
	Bridges() []bus.BridgeRule
}

// Aliasing is a protocol that shares channels of Redis with older programs.
type Aliasing interface {
	// Alias returns that of an address; nil when it has none.
	Alias(a bus.Address) bus.Alias
}

// Keeping is a protocol that says how the topics of audiences are kept.
type Keeping interface {
	Facilities() bus.Namespace
}

// Meeting is a protocol whose connections meet on channels of a namespace. They are live and tell who comes and goes.
type Meeting interface {
	Namespace() string
}

// Sizing is a protocol with a limit of its own for messages.
type Sizing interface {
	// MaxMessage returns the largest payload that it takes, in bytes.
	MaxMessage() Size
}

// Spoken returns the older protocols that are switched on.
func (l Legacy) Spoken() []Protocol {
	return slices.DeleteFunc(slices.Clone(l.Protocols), func(p Protocol) bool {
		return !slices.Contains(l.Dialects, p.Name()) && !slices.Contains(l.Dialects, every)
	})
}

// every stands for all older protocols.
const every = "all"

// Names returns what the setting may have in it: all, and the name of each older protocol.
func (l Legacy) Names() []string {
	names := []string{every}
	for _, p := range l.Protocols {
		names = append(names, p.Name())
	}
	return names
}

// ProtocolOf returns the older protocol of a type, whose settings may be changed before a process is built; false when there
// is none.
func ProtocolOf[P Protocol](l Legacy) (P, bool) {
	var none P
	for _, p := range l.Protocols {
		if p, ok := p.(P); ok {
			return p, true
		}
	}
	return none, false
}

// spokenAs returns the older protocols that are switched on and can do what T says.
func spokenAs[T any](l Legacy) []T {
	var all []T
	for _, p := range l.Spoken() {
		if t, ok := p.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// LegacyOpen says whether the older protocols let everybody do what they always did.
func (c Config) LegacyOpen() bool { return c.Dev || c.Legacy.Open }

// LegacyListeners returns the listeners of the older protocols in this process.
func (c Config) LegacyListeners() []Listener {
	var all []Listener
	for _, p := range c.Legacy.Spoken() {
		all = append(all, c.ListenersOf(p)...)
	}
	return all
}

// ListenersOf returns the listeners of one older protocol in this process.
func (c Config) ListenersOf(p Protocol) []Listener {
	return slices.DeleteFunc(p.Listeners(), func(l Listener) bool { return l.Address == "" || !c.Runs(l.Role) })
}

// facilities is how the topics of audiences are kept; zero when nobody speaks of them.
func (l Legacy) facilities() bus.Namespace {
	for _, p := range spokenAs[Keeping](l) {
		return p.Facilities()
	}
	return bus.Namespace{}
}

// Largest returns the largest payload that any door of the process lets in, in bytes.
func (c Config) Largest() Size { return max(c.Publish.MaxMessage, c.Legacy.largest()) }

// largest returns the largest message of the older protocols that are spoken.
func (l Legacy) largest() Size {
	var largest Size
	for _, p := range spokenAs[Sizing](l) {
		largest = max(largest, p.MaxMessage())
	}
	return largest
}

// bridges are the channels of Redis that the older protocols read.
func (l Legacy) bridges() []bus.BridgeRule {
	var all []bus.BridgeRule
	for _, p := range spokenAs[Bridging](l) {
		all = append(all, p.Bridges()...)
	}
	return all
}
