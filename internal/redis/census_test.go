package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// An address counts for as many days as its position is known, and no longer.
func TestCount_forgetsOnTime(t *testing.T) {
	s, raw := soiled(t)
	today := time.Now().Unix() / 86400
	for name, c := range map[string]struct{ age, want int }{"today": {0, 3}, "last": {30, 3}, "before": {31, 0}} {
		for i := range 3 {
			testkit.Check(t, raw.PFAdd(t.Context(), fmt.Sprintf("tl:{addresses:%s}:%d", name, today-int64(c.age)), fmt.Sprint(i)).Err())
		}
		if n, err := s.Count(t.Context(), bus.Space{Name: name}, nil); err != nil || n != c.want {
			t.Errorf("%s: %d are counted, %v", name, n, err)
		}
	}
	// Logs that are kept for longer count for as long.
	testkit.Check(t, raw.PFAdd(t.Context(), fmt.Sprintf("tl:{addresses:long}:%d", today-60), "a").Err())
	if n, err := s.Count(t.Context(), bus.Space{Name: "long", Age: 90 * 24 * time.Hour}, nil); err != nil || n != 1 {
		t.Errorf("%d are counted, %v", n, err)
	}
	_, err := s.Count(t.Context(), bus.Space{Name: "bound"}, []bus.Address{address(t, "channels/bound:a")})
	testkit.Check(t, err)
	keys := raw.Keys(t.Context(), "tl:{addresses:bound}*").Val()
	for _, key := range keys {
		if raw.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("%s stays for ever", key)
		}
	}
	if len(keys) != 2 {
		t.Errorf("the keys are %v", keys)
	}
}
