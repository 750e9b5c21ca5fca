package access

import (
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// limits counts connections, in all and by address.
type limits struct {
	total, perIP int

	crowded func(ip string, connections int) // called once

	mu    sync.Mutex
	count int
	byIP  map[string]int
	told  bool // crowded was called
}

// newLimits returns limits of connections, in all and from one IP address; 0 is no limit. The first address that has half of what it
// may have is told to crowded.
func newLimits(total, perIP int, crowded func(ip string, connections int)) *limits {
	return &limits{total: total, perIP: perIP, crowded: crowded, byIP: make(map[string]int)}
}

// Enter counts a connection, or refuses it.
func (l *limits) Enter(ip string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > 0 && l.count >= l.total {
		return bus.ErrConnectionLimit.With("", map[string]string{"rule": "edge.connections"})
	}
	if l.perIP > 0 && l.byIP[ip] >= l.perIP {
		return bus.ErrConnectionLimit.With("too many connections from this address; a proxy in front of many clients has to be named in http.trusted_proxies",
			map[string]string{"rule": "edge.connections_per_ip", "setting": "http.trusted_proxies"})
	}
	l.count++
	l.byIP[ip]++
	if n := l.byIP[ip]; l.perIP > 1 && n > l.perIP/2 && !l.told {
		l.told = true
		l.crowded(ip, n)
	}
	return nil
}

// Leave undoes Enter.
func (l *limits) Leave(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.byIP[ip]--; l.byIP[ip] <= 0 {
		delete(l.byIP, ip)
	}
}

// Connections returns how many there are.
func (l *limits) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
