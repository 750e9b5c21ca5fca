package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// protocol is one older protocol. Functions that it has no need of are nil.
type protocol struct {
	config.Protocol
	// dialects makes what the edge has to speak.
	dialects func(h *process) ([]dialect.Dialect, error)
	// handler makes what one of its listeners, by its key, serves; d is what dialects has made.
	handler func(h *process, key string, d []dialect.Dialect) http.Handler
	// register adds its gRPC services to the publish role.
	register func(h *process)
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

// buildLegacyDialects makes the dialects of the older protocols.
func (h *process) buildLegacyDialects() ([]dialect.Dialect, error) {
	h.older = make(map[string][]dialect.Dialect)
	var all []dialect.Dialect
	for _, p := range spoken(h.cfg.Legacy) {
		if p.dialects == nil {
			continue
		}
		d, err := p.dialects(h)
		if err != nil {
			return nil, fmt.Errorf("legacy.%s: %w", p.Name, err)
		}
		h.older[p.Name] = d
		all = append(all, d...)
	}
	return all, nil
}

// buildLegacyListeners makes the listeners of the older protocols.
func (h *process) buildLegacyListeners() {
	for _, p := range spoken(h.cfg.Legacy) {
		for _, l := range h.cfg.ListenersOf(p.Protocol) {
			d := h.shared(l)
			d.parts = append(d.parts, l)
			d.handlers = append(d.handlers, p.handler(h, l.Key, h.older[p.Name]))
		}
	}
}

// shared returns the listener at a listener's address, a new one unless another protocol has it.
func (h *process) shared(l config.Listener) *sharedListener {
	if _, port, _ := net.SplitHostPort(l.Address); port != "0" {
		for _, d := range h.legacy {
			if d.listen == l.Address {
				return d
			}
		}
	}
	d := new(sharedListener)
	d.listener = newListener(l.Key, l.Address, d)
	h.legacy = append(h.legacy, d)
	return d
}

// legacyAddresses returns where the older protocols listen, by the key of the setting.
func (h *process) legacyAddresses() map[string]string {
	all := make(map[string]string)
	for _, d := range h.legacy {
		for _, p := range d.parts {
			all[p.Key] = d.address()
		}
	}
	return all
}

// LegacyURLs returns how the older protocols are reached, in the order of their settings.
func (r Running) LegacyURLs(local func(address string) string) []string {
	var all []string
	for _, l := range r.Config.LegacyListeners() {
		all = append(all, fmt.Sprintf(l.URL, local(r.Legacy[l.Key])))
	}
	return all
}

// listeners returns every listener of clients.
func (h *process) listeners() []*listener {
	all := []*listener{h.http}
	for _, d := range h.legacy {
		all = append(all, d.listener)
	}
	return all
}

// legacyRoute is how the connections of an older protocol are taken: from pages of any origin, as it always did.
func (h *process) legacyRoute(d []dialect.Dialect) http.Handler {
	return h.edge.Handler(edge.Route{Dialects: d, AnyOrigin: true})
}
