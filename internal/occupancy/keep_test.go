package occupancy_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Names of holders are remembered as copies, also after others of the same name came and went.
func TestCounter_keepsCopies(t *testing.T) {
	few := occupancy.Limit{Most: 10, Setting: "few"}
	c := occupancy.New(occupancy.Limits{Token: few, User: few, Key: few, IP: few})
	testkit.KeepsCopies(t, c, func(i int, in *testkit.Input) {
		holder := func() occupancy.Opener {
			name := fmt.Sprint(i)
			return occupancy.Opener{Token: in.Cut(name), User: in.Cut(name), Client: in.Cut(name), Key: in.Cut(name), IP: in.Cut(name)}
		}
		for range 3 {
			testkit.Check(t, c.Enter(holder()))
		}
		c.Leave(holder())
	})
	if n := c.Holders(); n != 5000 {
		t.Errorf("%d names are remembered", n)
	}
}
