package bustest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What is kept is counted once, whoever notes it and however often, and what is not kept is not there.
func testCensus(t *testing.T, open Open) {
	s := open(t)
	name, other := "n"+uuid.NewString()[:8], "o"+uuid.NewString()[:8]
	in := bus.Space{Name: name, Age: time.Hour}
	const many = 2500 // more than one call notes
	var used []bus.Address
	for i := range many {
		a, err := bus.NewAddress(bus.KindChannels, fmt.Sprintf("%s:%d", name, i))
		testkit.Check(t, err)
		p := bus.Publication{Message: bus.Message{ID: uuid.NewString(), To: a, Data: []byte("1"), ContentType: bus.JSON}, Retention: bus.Retention{Length: 1, Age: time.Hour}}
		publish(t, s, p)
		used = append(used, a)
	}
	near := func(n int) bool { return n >= many-many/20 && n <= many+many/20 }
	for range 2 {
		if n, err := s.Count(t.Context(), in, used); err != nil || !near(n) {
			t.Errorf("%d of %d are counted, %v", n, many, err)
		}
		if n, err := s.Count(t.Context(), in, used[:10]); err != nil || !near(n) {
			t.Errorf("%d of %d are counted, %v", n, many, err)
		}
	}
	if n, err := s.Count(t.Context(), bus.Space{Name: other, Age: time.Hour}, nil); err != nil || n != 0 {
		t.Errorf("%d are counted where there are none, %v", n, err)
	}
	nowhere, err := bus.NewAddress(bus.KindChannels, other+":1")
	testkit.Check(t, err)
	for a, want := range map[bus.Address]bool{used[0]: true, used[many-1]: true, nowhere: false} {
		if got, err := s.Keeps(t.Context(), a); err != nil || got != want {
			t.Errorf("%s is kept: %v, %v", a, got, err)
		}
	}
}
