package revoked_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A flood of revocations is remembered up to a bound: the newest ones at least, and none for ever.
func TestFollower_remembersTheNewestRevocations(t *testing.T) {
	const atLeast, flood = 50_000, 100_001
	f := revoked.New(memory.New(memory.Config{}), revoked.Config{})
	at := time.Now()
	for i := range flood {
		data, err := json.Marshal(bus.Revocation{Kind: bus.SubjectUser, ID: fmt.Sprint(i), Before: at})
		testkit.Check(t, err)
		f.Deliver(&bus.Message{To: bus.Revoked, Data: data})
	}
	refused := func(i int) bool {
		return f.Refused(&bus.Identity{Client: "c", User: fmt.Sprint(i), TokenID: "t", Issued: at.Add(-time.Minute)}) != nil
	}
	for _, i := range []int{flood - 1, flood - atLeast} {
		if !refused(i) {
			t.Errorf("revocation %d of %d is forgotten", i, flood)
		}
	}
	if refused(0) {
		t.Error("the first one is remembered for ever")
	}
}
