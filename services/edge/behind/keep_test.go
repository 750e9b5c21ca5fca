package behind_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/behind"
)

// keepers returns queues that nobody writes, of channels that list their subscribers.
func keepers(tb testing.TB) *behind.Behind {
	tb.Helper()
	return behind.New(memory.New(memory.Config{}), nil, behind.Config{
		Namespaces: bus.Namespaces{
			Default: bus.Namespace{Presence: true}, Events: bus.Retention{Length: 1000, Age: time.Hour},
		},
		Logger: slog.New(slog.DiscardHandler),
	}, nil)
}

// What this node counts, and what waits for the store, keeps nothing of the frames that named it.
func TestRoster_keepsCopies(t *testing.T) {
	address := func(i int, in *testkit.Input) bus.Address {
		a, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/c", i)))
		testkit.Check(t, err)
		return a
	}
	for name, keep := range map[string]func(*behind.Behind, int, *testkit.Input){
		"counts": func(b *behind.Behind, i int, in *testkit.Input) {
			b.Roster.Count(address(i, in))
			b.Roster.Count(address(i, in))
		},
		"joins": func(b *behind.Behind, i int, in *testkit.Input) {
			for range 2 {
				b.Roster.Join(address(i, in), bus.Member{Connection: in.Cut(fmt.Sprint(i)), Client: in.Cut("ada"), User: in.Cut("ada")})
			}
		},
		"leaves": func(b *behind.Behind, i int, in *testkit.Input) {
			b.Roster.Count(address(i, in))
			b.Roster.Count(address(i, in))
			b.Roster.LeaveAgain(address(i, in), in.Cut(fmt.Sprint(i)), in.Cut("ada"))
		},
		"connections": func(b *behind.Behind, i int, in *testkit.Input) {
			name := fmt.Sprint(i)
			b.Events.Connected(in.Cut(name), &bus.Identity{Client: in.Cut(name), User: in.Cut(name), Session: in.Cut(name)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := keepers(t)
			testkit.KeepsCopies(t, b, func(i int, in *testkit.Input) { keep(b, i, in) })
		})
	}
}
