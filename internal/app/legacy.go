package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// protocol is one older protocol. Functions that it has no need of are nil.
type protocol struct {
	config.Protocol
	// dialects makes what the edge has to speak.
	dialects func(b base) ([]dialect.Dialect, error)
	// handler makes what one of its listeners, by its key, serves; sockets and d are nil without the role edge.
	handler func(b base, sockets *edge.Edge, key string, d []dialect.Dialect) http.Handler
	// register adds its gRPC services to those of the publish role.
	register func(b base, r grpc.ServiceRegistrar)
	// sessions finds the users of sessions that only older programs know.
	sessions func(b base, open *closers) (bus.SessionResolver, error)
}

// protocols returns the older protocols that there are.
func protocols() []protocol {
	return []protocol{relayProtocol(), pushServerProtocol(), roomsProtocol(), facilityProtocol()}
}

// spoken returns the protocols that are switched on.
func spoken(l config.Legacy) []protocol {
	return slices.DeleteFunc(protocols(), func(p protocol) bool { return !l.Speaks(p.Name) })
}

// sharedListener is a listener that one or more older protocols share.
type sharedListener struct {
	*listener
	parts    []config.Listener
	handlers []http.Handler
}

// ServeHTTP hands a request to the protocol whose path it is.
func (d *sharedListener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	other := 0
	for i, p := range d.parts {
		if p.Takes == nil {
			other = i
		} else if p.Takes(r.URL.Path) {
			d.handlers[i].ServeHTTP(w, r)
			return
		}
	}
	d.handlers[other].ServeHTTP(w, r)
}

// legacyDialects makes what the edge speaks for the older protocols, by their names; none without the role.
func legacyDialects(b base) (map[string][]dialect.Dialect, error) {
	if !b.cfg.Runs(config.RoleEdge) {
		return nil, nil
	}
	all := make(map[string][]dialect.Dialect)
	for _, p := range spoken(b.cfg.Legacy) {
		d, err := p.dialects(b)
		if err != nil {
			return nil, fmt.Errorf("legacy.%s: %w", p.Name, err)
		}
		all[p.Name] = d
	}
	return all, nil
}

// registerLegacy adds the gRPC services of the older protocols.
func registerLegacy(b base, r grpc.ServiceRegistrar) {
	for _, p := range spoken(b.cfg.Legacy) {
		if p.register != nil {
			p.register(b, r)
		}
	}
}

// legacySessions returns what is asked about sessions that nobody has registered; nil for nothing.
func legacySessions(b base, open *closers) (bus.SessionResolver, error) {
	for _, p := range spoken(b.cfg.Legacy) {
		if p.sessions != nil {
			return p.sessions(b, open)
		}
	}
	return nil, nil
}

// newLegacyListeners makes the listeners of the older protocols. Those with the same address are one.
func newLegacyListeners(b base, sockets *edge.Edge, older map[string][]dialect.Dialect) []*sharedListener {
	var all []*sharedListener
	for _, p := range spoken(b.cfg.Legacy) {
		for _, part := range b.cfg.ListenersOf(p.Protocol) {
			l := at(all, part.Address)
			if l == nil {
				l = new(sharedListener)
				l.listener = newListener(part.Key, part.Address, l)
				all = append(all, l)
			}
			l.parts = append(l.parts, part)
			l.handlers = append(l.handlers, p.handler(b, sockets, part.Key, older[p.Name]))
		}
	}
	return all
}

// at returns the listener with an address; nil when there is none. Port 0 stands for a free port each time.
func at(all []*sharedListener, address string) *sharedListener {
	if _, port, _ := net.SplitHostPort(address); port == "0" {
		return nil
	}
	i := slices.IndexFunc(all, func(l *sharedListener) bool { return l.listen == address })
	if i < 0 {
		return nil
	}
	return all[i]
}

// anyOrigin takes the connections of an older protocol from pages of any origin, as it always did.
func anyOrigin(sockets *edge.Edge, d []dialect.Dialect) http.Handler {
	return sockets.Handler(edge.Route{Dialects: d, AnyOrigin: true})
}

// LegacyURLs returns how the older protocols are reached, in the order of their settings.
func (r Running) LegacyURLs(local func(address string) string) []string {
	var all []string
	for _, l := range r.Config.LegacyListeners() {
		all = append(all, fmt.Sprintf(l.URL, local(r.Legacy[l.Key])))
	}
	return all
}
