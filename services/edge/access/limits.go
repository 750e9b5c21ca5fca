package access

import (
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// Limits counts connections, in all and by address.
type Limits struct {
	total, perIP int

	mu    sync.Mutex
	count int
	byIP  map[string]int
}

// NewLimits returns limits of connections, in all and from one IP address; 0 is no limit.
func NewLimits(total, perIP int) *Limits {
	return &Limits{total: total, perIP: perIP, byIP: make(map[string]int)}
}

// Enter counts a connection, or refuses it.
func (l *Limits) Enter(ip string) error {
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
func (l *Limits) Leave(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.byIP[ip]--; l.byIP[ip] <= 0 {
		delete(l.byIP, ip)
	}
}

// Connections returns how many there are.
func (l *Limits) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
