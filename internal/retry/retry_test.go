package retry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/retry"
)

func TestWait_endsWithItsTimeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !retry.Wait(t.Context(), time.Minute) || time.Since(start) != time.Minute {
			t.Errorf("it waited for %s", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if retry.Wait(ctx, time.Minute) || time.Since(start) != time.Second {
			t.Errorf("it waited for %s", time.Since(start))
		}
	})
}

func TestBackoff_hasABound(t *testing.T) {
	for failures := range 100 {
		if d := retry.Backoff(failures); d < 0 || d >= 2*time.Second || failures == 0 && d >= 50*time.Millisecond {
			t.Errorf("after %d failures it is %s", failures, d)
		}
	}
	if retry.Jitter(0) != 0 {
		t.Error("a part of nothing is something")
	}
}
