// Package retry says how long to wait before another try.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Wait returns after d, or as soon as ctx ends. It says whether the time has passed.
func Wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Jitter returns a random part of a time, so that not all try at once.
func Jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most) //nolint:gosec // spreading needs no secret
}

const (
	// firstBackoff is the bound of the wait after the first failure; it doubles with each, up to mostBackoff.
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 2 * time.Second
)

// Backoff returns how long to wait after so many failures before this one: a random part of a bound that doubles, up to 2 s.
func Backoff(failures int) time.Duration {
	return Jitter(min(firstBackoff<<min(failures, 6), mostBackoff))
}
