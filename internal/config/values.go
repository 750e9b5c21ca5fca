package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// What a process keeps its messages in.
const (
	InMemory = "memory"
	InRedis  = "redis"
	Nothing  = "none"
)

// Store says what the process keeps its messages in.
func (c Config) Store() string {
	switch {
	case c.Redis.URL != "":
		return InRedis
	case len(c.Roles) == 1 && c.Runs(RoleGateway):
		return Nothing
	}
	return InMemory
}

// End is when a key ends; zero for never.
func (k SigningKey) End() time.Time {
	t, _ := time.Parse(time.RFC3339, k.Until) // checked when it was read
	return t
}

// Origins returns the origins of pages that may connect: those configured, and the one that a proxy shows.
func (c Config) Origins() []string {
	all := slices.Clone(c.Edge.AllowedOrigins)
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil && u.Host != "" {
		all = append(all, u.Scheme+"://"+u.Host)
	}
	return all
}

// Proxies returns the networks whose X-Forwarded-For is believed.
func (c Config) Proxies() ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(c.HTTP.TrustedProxies))
	for _, s := range c.HTTP.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("http.trusted_proxies: %w", err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		all = append(all, p)
	}
	return all, nil
}

// SealingKeys returns the keys that seal tickets.
func (t Tickets) SealingKeys() ([][]byte, error) {
	keys := make([][]byte, 0, len(t.Keys))
	for _, k := range t.Keys {
		key, err := sealingKey(k.Reveal())
		if err != nil {
			return nil, fmt.Errorf("edge.tickets.keys: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Loopback says whether the listener is reached from this host alone.
func (i Internal) Loopback() bool { return loopbackListen(i.Listen) }

// IsName says whether s may be the name of a process.
func IsName(s string) bool { return s != "" && checkText(rules{kind: "name"}, s) == nil }
