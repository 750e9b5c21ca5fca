package redistest

import (
	"errors"
	"strings"
	"testing"
)

// Move is one slot on its way from one master of a Cluster to another, step by step as redis-cli --cluster reshard does it.
type Move struct {
	From, To *Server

	tb      testing.TB
	cluster *Cluster
	slot    string
}

// Begin marks the slot of a key as being moved to the next master. No key of it moves yet.
func (c *Cluster) Begin(key string) *Move {
	tb := c.Servers[0].tb
	tb.Helper()
	m := &Move{tb: tb, cluster: c, slot: strings.TrimSpace(must(tb, c.Servers[0], "cluster", "keyslot", key))}
	for i, s := range c.Servers {
		if out, _ := s.CLI("exists", key); !strings.HasPrefix(out, "MOVED") {
			m.From, m.To = s, c.Servers[(i+1)%len(c.Servers)]
		}
	}
	must(tb, m.To, "cluster", "setslot", m.slot, "importing", id(tb, m.From))
	must(tb, m.From, "cluster", "setslot", m.slot, "migrating", id(tb, m.To))
	return m
}

// Step moves up to n keys and returns how many there were.
func (m *Move) Step(n string) int {
	m.tb.Helper()
	keys := strings.Fields(must(m.tb, m.From, "cluster", "getkeysinslot", m.slot, n))
	if len(keys) > 0 {
		must(m.tb, m.From, append([]string{"migrate", "127.0.0.1", m.To.port, "", "0", "5000", "keys"}, keys...)...)
	}
	return len(keys)
}

// End moves what is left and gives the slot to its new master.
func (m *Move) End() {
	m.tb.Helper()
	for m.Step("100") > 0 {
	}
	owner := id(m.tb, m.To)
	must(m.tb, m.To, "cluster", "setslot", m.slot, "node", owner)
	must(m.tb, m.From, "cluster", "setslot", m.slot, "node", owner)
	for _, s := range m.cluster.Servers {
		if s != m.From && s != m.To {
			must(m.tb, s, "cluster", "setslot", m.slot, "node", owner)
		}
	}
}

// Left returns the keys that are at the old master still.
func (m *Move) Left() []string {
	m.tb.Helper()
	return strings.Fields(must(m.tb, m.From, "cluster", "getkeysinslot", m.slot, "100000"))
}

func id(tb testing.TB, s *Server) string {
	tb.Helper()
	return strings.TrimSpace(must(tb, s, "cluster", "myid"))
}

// must runs a command that has to succeed.
func must(tb testing.TB, s *Server, args ...string) string {
	tb.Helper()
	out, err := s.CLI(args...)
	for _, failed := range []string{"ERR", "MOVED", "IOERR", "NOPERM", "BUSYKEY"} {
		if strings.HasPrefix(out, failed) {
			err = errors.Join(err, errors.New(failed))
		}
	}
	if err != nil {
		tb.Fatal(args, out, err)
	}
	return out
}
