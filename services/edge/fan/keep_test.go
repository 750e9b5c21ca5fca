package fan_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// Subscriptions keep copies of their addresses, and nothing of the frames that named them.
func TestSubscription_keepsCopies(t *testing.T) {
	r := fan.NewRig(t, memory.New(memory.Config{}), fan.Config{Dialects: dialects})
	all := r.Follow(message(t, "channels/news").To, 0)
	testkit.KeepsCopies(t, all, func(i int, in *testkit.Input) {
		for range 2 {
			a, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/c", i)))
			testkit.Check(t, err)
			all.Add(a)
		}
	})
}
