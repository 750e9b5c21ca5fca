// Package peer says whom a request comes from. It is the one place that reads what proxies say about that, so limits, logs and
// every surface mean the same address.
package peer

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
)

// The headers that proxies name their callers in.
const (
	XForwardedFor = "x-forwarded-for"
	// Forwarded is the header of RFC 7239.
	Forwarded = "forwarded"
)

// DefaultIPv6Prefix is how much of an IPv6 address its owner cannot choose: providers give out networks of 64 bits and more.
const DefaultIPv6Prefix = 64

// Config says who may speak for others. The zero value believes nobody.
type Config struct {
	// Trusted are the networks of proxies, whose headers are believed.
	Trusted []netip.Prefix
	// Header is the one that counts, XForwardedFor by default. Others are not read: a proxy that does not know them passes on what
	// its caller has written there.
	Header string
	// IPv6Prefix is how many bits of an IPv6 address tell callers apart where they are counted; DefaultIPv6Prefix by default.
	IPv6Prefix int
}

// Resolver says whom requests come from. It is immutable, and a nil one believes nobody.
type Resolver struct {
	trusted    []netip.Prefix
	elements   func(*http.Request) *elements
	ipv6Prefix int
}

// New returns a resolver.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{ipv6Prefix: cmp.Or(cfg.IPv6Prefix, DefaultIPv6Prefix)}
	switch cfg.Header {
	case "", XForwardedFor:
		r.elements = xForwardedFor
	case Forwarded:
		r.elements = forwarded
	default:
		return nil, fmt.Errorf("header %q, allowed are %s and %s", cfg.Header, XForwardedFor, Forwarded)
	}
	if r.ipv6Prefix < 1 || r.ipv6Prefix > 128 {
		return nil, fmt.Errorf("%d bits of an IPv6 address, allowed are 1 to 128", r.ipv6Prefix)
	}
	for _, p := range cfg.Trusted {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		r.trusted = append(r.trusted, p.Masked())
	}
	return r, nil
}

// Of returns whom a request comes from: the other end of its connection, or what trusted proxies say. The address is without a
// zone, and an IPv4 address in its own form. It is not valid where the connection has no IP address.
func (r *Resolver) Of(req *http.Request) netip.Addr {
	end, ok := parse(req.RemoteAddr)
	if !ok || !r.Trusts(end) {
		return end
	}
	// Each proxy adds the address that called it, so the last ones are those that are known to be true.
	for hops := r.elements(req); r.Trusts(end); {
		text, more := hops.next()
		if !more {
			break
		}
		hop, ok := parse(text)
		if !ok {
			break // a proxy does not say, or hides it: what called is known up to that proxy
		}
		end = hop
	}
	return end
}

// Trusts says whether an address belongs to a proxy.
func (r *Resolver) Trusts(a netip.Addr) bool {
	return r != nil && slices.ContainsFunc(r.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Group returns what an address is counted under: itself, or the network of an IPv6 address, whose owner has all of it.
func (r *Resolver) Group(a netip.Addr) string {
	bits := DefaultIPv6Prefix
	if r != nil {
		bits = r.ipv6Prefix
	}
	if !a.Is6() || bits == 128 {
		return a.String()
	}
	p, _ := a.Prefix(bits) // New has checked the bits
	return p.String()
}

// GroupOf returns what a request is counted under.
func (r *Resolver) GroupOf(req *http.Request) string { return r.Group(r.Of(req)) }
