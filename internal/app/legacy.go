package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/legacy/facility"
	"github.com/trunkline/trunkline/legacy/pushserver"
	"github.com/trunkline/trunkline/legacy/relay"
	"github.com/trunkline/trunkline/legacy/rooms"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// protocols returns the older protocols that there are, with their defaults.
func protocols() []config.Protocol {
	return []config.Protocol{
		relay.New(),
		pushserver.New(),
		rooms.New(),
		facility.New(),
	}
}

// older is an older protocol that is switched on, and what the edge speaks for it.
type older struct {
	legacy.Protocol
	dialect dialect.Dialect // nil without the role edge
}

// olderProtocols returns the older protocols that are switched on.
func olderProtocols(b base) ([]older, error) {
	var all []older
	for _, known := range b.cfg.Legacy.Spoken() {
		p, ok := known.(legacy.Protocol)
		if !ok {
			return nil, fmt.Errorf("legacy.%s: has settings and nothing else", known.Name())
		}
		o := older{Protocol: p}
		if b.cfg.Runs(config.RoleEdge) {
			var err error
			if o.dialect, err = p.Dialect(b.host()); err != nil {
				return nil, fmt.Errorf("legacy.%s.%w", p.Name(), err) // it begins with the setting
			}
		}
		all = append(all, o)
	}
	return all, nil
}

// host is what the older protocols are given.
func (b base) host() legacy.Host {
	return legacy.Host{
		Open: b.cfg.LegacyOpen(), Log: b.tel.Log, Store: b.store, Publish: b.conns.publish, Callers: b.conns.openPublish,
		Namespaces: b.cfg.Namespaces(), MaxChannels: b.cfg.Channels.Created,
		Charging: b.charging,
	}
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

// legacySessions returns what is asked about sessions that nobody has registered; nil for nothing.
func legacySessions(b base, protocols []older, open *closers) (bus.SessionResolver, error) {
	for _, p := range protocols {
		known, ok := p.Protocol.(legacy.Resolving)
		if !ok {
			continue
		}
		r, end, err := known.Resolver(b.host())
		if err != nil || r == nil {
			return nil, err
		}
		open.add(func() error { end(); return nil })
		return r, nil
	}
	return nil, nil
}

// newLegacyListeners makes the listeners of the older protocols. Those with the same address are one.
func newLegacyListeners(b base, sockets *edge.Edge, protocols []older) []*sharedListener {
	var all []*sharedListener
	for _, p := range protocols {
		take := func(anyOrigin bool) http.Handler {
			return sockets.Handler(edge.Route{Dialects: []dialect.Dialect{p.dialect}, AnyOrigin: anyOrigin})
		}
		for _, part := range b.cfg.ListenersOf(p) {
			l := at(all, part.Address)
			if l == nil {
				l = new(sharedListener)
				l.listener = newListener(part.Key, part.Address, b.naming(l), b.cfg.HTTP.IdleTimeout)
				l.wrap = b.proxied(part.Key)
				all = append(all, l)
			}
			l.parts = append(l.parts, part)
			l.handlers = append(l.handlers, p.Handler(b.host(), part.Key, take))
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

// LegacyURLs returns how the older protocols are reached, in the order of their settings.
func (r Running) LegacyURLs(local func(address string) string) []string {
	var all []string
	for _, l := range r.Config.LegacyListeners() {
		all = append(all, fmt.Sprintf(l.URL, local(r.Legacy[l.Key])))
	}
	return all
}
