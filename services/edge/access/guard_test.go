package access_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/access"
)

func guard(tb testing.TB, cfg access.Config) *access.Guard {
	tb.Helper()
	g, err := access.NewGuard(nil, nil, cfg, nil)
	testkit.Check(tb, err)
	return g
}

// A handshake that is refused is counted nowhere, whichever bound it meets.
func TestGuard_countsWhatItLetsIn(t *testing.T) {
	g := guard(t, access.Config{Connections: 3, ConnectionsPerIP: 2, ConnectsInProgress: 3})
	counted := func(connections, connecting int) {
		t.Helper()
		if n, m := g.Connections(), g.InProgress(); n != connections || m != connecting {
			t.Errorf("%d connections, %d connects in progress, want %d and %d", n, m, connections, connecting)
		}
	}
	refused := func(ip string, want *bus.Error) {
		t.Helper()
		if _, err := g.Admit(ip, false); !errors.Is(err, want) {
			t.Errorf("refused with %v, want %v", err, want)
		}
	}
	refused("a", bus.ErrDraining) // it is not open yet
	counted(0, 0)
	g.Open()
	seats := make([]access.Seat, 3)
	for i, ip := range []string{"a", "a", "b"} {
		var err error
		seats[i], err = g.Admit(ip, false)
		testkit.Check(t, err)
	}
	counted(3, 3)
	refused("c", bus.ErrOverloaded)
	seats[0].Connected()
	seats[0].Connected() // once is enough
	counted(3, 2)
	refused("c", bus.ErrConnectionLimit)
	seats[2].Leave()
	counted(2, 1)
	refused("a", bus.ErrConnectionLimit)
	testkit.Check(t, seats[0].Connect())
	counted(2, 2)
	g.Close()
	refused("b", bus.ErrDraining)
	counted(2, 2)
	for i := range seats {
		if i < 2 {
			seats[i].Leave()
		}
		seats[i].Free()
	}
	counted(0, 0)
	g.Wait()
}

// Handshakes that come while the guard closes either have a seat that is waited for, or none.
func TestGuard_closesUnderFire(t *testing.T) {
	g := guard(t, access.Config{ConnectsInProgress: 1000})
	g.Open()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				s, err := g.Admit("a", false)
				if err != nil {
					return
				}
				s.Connected()
				s.Leave()
				s.Free()
			}
		})
	}
	g.Close()
	g.Wait()
	all.Wait()
	if n, m := g.Connections(), g.InProgress(); n != 0 || m != 0 {
		t.Errorf("%d connections, %d connects in progress", n, m)
	}
}
