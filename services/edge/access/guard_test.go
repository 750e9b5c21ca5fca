package access_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
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

// An address that has half of what it may have is told once, before anybody is refused. It may be a proxy that nobody has named.
func TestGuard_warnsOfAProxy(t *testing.T) {
	var said bytes.Buffer
	g := guard(t, access.Config{ConnectionsPerIP: 4, ConnectsInProgress: 9, Log: slog.New(slog.NewTextHandler(&said, nil))})
	g.Open()
	for i := range 4 {
		if _, err := g.Admit("10.0.0.1", false); err != nil {
			t.Fatal(err)
		}
		if told := strings.Count(said.String(), "http.trusted_proxies"); told != min(i/2, 1) {
			t.Errorf("told %d times after %d connections: %s", told, i+1, said.String())
		}
	}
	_, err := g.Admit("10.0.0.1", false)
	var e *bus.Error
	if !errors.As(err, &e) || !errors.Is(err, bus.ErrConnectionLimit) || !strings.Contains(e.Message, "http.trusted_proxies") {
		t.Errorf("refused with %v", err)
	}
}
