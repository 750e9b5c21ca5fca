package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Legacy is the older protocols.
type Legacy struct {
	Dialects []string `koanf:"dialects" oneof:"all,relay,pushserver,rooms,facility" doc:"The older protocols that are spoken."`
	Open     bool     `koanf:"open" doc:"Lets everybody do, outside development mode, what the older protocols let everybody do; without it they ask for tokens and API keys."`
	Commands Commands `koanf:"commands"`

	Relay      Relay      `koanf:"relay"`
	PushServer PushServer `koanf:"pushserver"`
	Rooms      Rooms      `koanf:"rooms"`
	Facility   Facility   `koanf:"facility"`
}

// Commands is what command frames may do.
type Commands struct {
	Allow []string      `koanf:"allow" oneof:"GET,SET,DEL,INCR,EXPIRE,TTL" doc:"The store commands that clients may send in command frames, on values of their own; none when empty."`
	Keys  int           `koanf:"keys" min:"1" max:"10000" doc:"How many keys one session may have."`
	Keep  time.Duration `koanf:"keep" min:"1s" max:"720h" doc:"How long its values are kept after the last change."`
}

// protocol is one older protocol. Functions that it has no need of are nil.
type protocol struct {
	name string
	// listeners says where it listens.
	listeners func(l Legacy) []legacyListener
	// dialects makes what the edge has to speak.
	dialects func(h *house) ([]dialect.Dialect, error)
	// handler makes what one of its listeners, by its key, serves; d is what dialects has made.
	handler func(h *house, key string, d []dialect.Dialect) http.Handler
	// register adds its gRPC services to the publish role.
	register func(h *house)
	// bridges are the channels of Redis that it shares with older programs.
	bridges func(cfg Config) []bus.BridgeRule
	// namespace is that of the channels on which its connections meet; they are live and tell who comes and goes.
	namespace string
}

// legacyListener is one listener of an older protocol.
type legacyListener struct {
	key, address string
	role         string
	// url shows where it is reached, with %s for host:port.
	url string
	// takes says which paths are its own where it shares an address; nil for what no other takes.
	takes func(path string) bool
}

// protocols returns the older protocols that there are.
func protocols() []protocol {
	return []protocol{relayProtocol(), pushServerProtocol(), roomsProtocol(), facilityProtocol()}
}

// older returns the protocols that are switched on.
func (c Config) older() []protocol {
	var all []protocol
	for _, p := range protocols() {
		if c.speaks(p.name) {
			all = append(all, p)
		}
	}
	return all
}

// speaks says whether an older protocol is switched on.
func (c Config) speaks(dialect string) bool {
	return slices.Contains(c.Legacy.Dialects, dialect) || slices.Contains(c.Legacy.Dialects, "all")
}

// open says whether the older protocols let everybody do what they always did.
func (c Config) open() bool { return c.Dev || c.Legacy.Open }

// legacyListeners returns the listeners of the older protocols in this process.
func (c Config) legacyListeners() []legacyListener {
	var all []legacyListener
	for _, p := range c.older() {
		for _, l := range p.listeners(c.Legacy) {
			if l.address != "" && c.Runs(l.role) {
				all = append(all, l)
			}
		}
	}
	return all
}

// legacyDoor is a listener that one or more older protocols share.
type legacyDoor struct {
	*door
	parts    []legacyListener
	handlers []http.Handler
}

// ServeHTTP hands a request to the protocol whose path it is.
func (d *legacyDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	other := 0
	for i, p := range d.parts {
		if p.takes == nil {
			other = i
		} else if p.takes(r.URL.Path) {
			d.handlers[i].ServeHTTP(w, r)
			return
		}
	}
	d.handlers[other].ServeHTTP(w, r)
}

// buildLegacyDialects makes the dialects of the older protocols.
func (h *house) buildLegacyDialects() ([]dialect.Dialect, error) {
	h.older = make(map[string][]dialect.Dialect)
	var all []dialect.Dialect
	for _, p := range h.cfg.older() {
		if p.dialects == nil {
			continue
		}
		d, err := p.dialects(h)
		if err != nil {
			return nil, fmt.Errorf("legacy.%s: %w", p.name, err)
		}
		h.older[p.name] = d
		all = append(all, d...)
	}
	return all, nil
}

// buildLegacyDoors makes the listeners of the older protocols.
func (h *house) buildLegacyDoors() {
	for _, p := range h.cfg.older() {
		for _, l := range p.listeners(h.cfg.Legacy) {
			if l.address == "" || !h.cfg.Runs(l.role) {
				continue
			}
			d := h.legacyDoor(l)
			d.parts = append(d.parts, l)
			d.handlers = append(d.handlers, p.handler(h, l.key, h.older[p.name]))
		}
	}
}

// legacyDoor returns the door at a listener's address, a new one unless another protocol has it.
func (h *house) legacyDoor(l legacyListener) *legacyDoor {
	if _, port, _ := net.SplitHostPort(l.address); port != "0" {
		for _, d := range h.legacy {
			if d.listen == l.address {
				return d
			}
		}
	}
	d := new(legacyDoor)
	d.door = newDoor(l.key, l.address, d)
	h.legacy = append(h.legacy, d)
	return d
}

// legacyAddresses returns where the older protocols listen, by the key of the setting.
func (h *house) legacyAddresses() map[string]string {
	all := make(map[string]string)
	for _, d := range h.legacy {
		for _, p := range d.parts {
			all[p.key] = d.address()
		}
	}
	return all
}

// LegacyURLs returns how the older protocols are reached, in the order of their settings.
func (r Running) LegacyURLs(local func(address string) string) []string {
	var all []string
	for _, l := range r.Config.legacyListeners() {
		all = append(all, fmt.Sprintf(l.url, local(r.Legacy[l.key])))
	}
	return all
}

// doors returns every listener of clients.
func (h *house) doors() []*door {
	all := []*door{h.http}
	for _, d := range h.legacy {
		all = append(all, d.door)
	}
	return all
}

// legacyRoute is how the connections of an older protocol are taken: from pages of any origin, as it always did.
func (h *house) legacyRoute(d []dialect.Dialect) http.Handler {
	return h.edge.Handler(edge.Route{Dialects: d, AnyOrigin: true})
}
