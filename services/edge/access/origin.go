package access

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/loopback"
)

// Origins decides which pages may connect: by scheme, host and port (RFC 6454, section 4). A client
// that sends no Origin is no page, and is let through to the token check.
type Origins struct {
	all      bool
	loopback bool
	allowed  map[string]bool
}

// NewOrigins returns the origins of a list, in which "*" stands for all; loopback allows every page of a loopback address too.
func NewOrigins(list []string, loopback bool) (*Origins, error) {
	o := &Origins{loopback: loopback, allowed: make(map[string]bool)}
	for _, text := range list {
		if text == "*" {
			o.all = true
			continue
		}
		name, ok := normalOrigin(text)
		if !ok {
			return nil, fmt.Errorf("edge.allowed_origins: %q is not an origin, write scheme://host or scheme://host:port", text)
		}
		o.allowed[name] = true
	}
	return o, nil
}

// normalOrigin spells an origin with its port and in lower case; false for anything else.
func normalOrigin(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	switch {
	case scheme == "https" && port == "":
		port = "443"
	case scheme == "http" && port == "":
		port = "80"
	case port == "":
		return "", false
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), true
}

// Check returns nil when the page that opens the connection may do so.
func (o *Origins) Check(r *http.Request) error {
	values := r.Header.Values("Origin")
	if len(values) == 0 || o.all {
		return nil
	}
	origin := values[0]
	refused := bus.ErrOriginRefused.With(
		fmt.Sprintf("origin %.128q is not allowed; add it to edge.allowed_origins", origin),
		map[string]string{"setting": "edge.allowed_origins"})
	name, ok := normalOrigin(origin)
	if len(values) > 1 || !ok {
		return refused
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if own, ok := normalOrigin(scheme + "://" + r.Host); ok && own == name || o.allowed[name] {
		return nil
	}
	if o.loopback && loopbackOrigin(name) {
		return nil
	}
	return refused
}

func loopbackOrigin(name string) bool {
	u, err := url.Parse(name)
	return err == nil && loopback.Host(u.Hostname())
}

// ClientIP returns whom a connection comes from: the peer, or what a trusted proxy says.
func ClientIP(r *http.Request, trusted []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(ip, trusted); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		ip = hop.Unmap()
	}
	return ip.String()
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
