package access

import (
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// limits counts connections, in all and by address.
type limits struct {
	total, perIP int

	mu    sync.Mutex
	count int
	byIP  map[string]int
}

// newLimits returns limits of connections, in all and from one IP address; 0 is no limit.
func newLimits(total, perIP int) *limits {
	return &limits{total: total, perIP: perIP, byIP: make(map[string]int)}
}

// Enter counts a connection, or refuses it.
func (l *limits) Enter(ip string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > 0 && l.count >= l.total {
		return bus.ErrConnectionLimit.With("", map[string]string{"rule": "edge.connections"})
	}
	if l.perIP > 0 && l.byIP[ip] >= l.perIP {
		return bus.ErrConnectionLimit.With("too many connections from this address", map[string]string{"rule": "edge.connections_per_ip"})
	}
	l.count++
	l.byIP[ip]++
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
