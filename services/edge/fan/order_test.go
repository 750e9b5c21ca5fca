package fan_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// A client of a stateful dialect hears its addresses as one queue: messages that come in one round are not sorted by address.
func TestRound_keepsTheOrderOfAllAddressesOfOneSocket(t *testing.T) {
	one, err := bus.ParseAddress("channels/live:one")
	testkit.Check(t, err)
	other, err := bus.ParseAddress("channels/live:other")
	testkit.Check(t, err)
	r := idle(t, newChronicle(one), fan.Config{})
	f := r.FollowBoth(one, other)
	order := []bus.Address{one, other, other, one, other, one, one}
	for i, a := range order {
		f.Deliver(&bus.Message{ID: fmt.Sprint(i), To: a, Data: []byte(`1`)})
	}
	f.Turn()
	for i, a := range order {
		if m := f.Read().GetMessage(); m.GetId() != fmt.Sprint(i) || m.GetTo() != a.String() {
			t.Errorf("message %d is %v", i, m)
		}
	}
}
