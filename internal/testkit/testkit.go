// Package testkit holds what the tests of all packages share. It knows nothing of what they test.
package testkit

import (
	"os"
	"testing"
	"time"
)

// patience bounds a wait that promises no time: it only ends a test that would hang.
const patience = 20 * time.Second

// Check ends the test when err is not nil.
func Check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Eventually waits until ok returns true, for what offers no event to wait for. The test ends when that takes 20 s.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	Within(tb, what, patience, ok)
}

// Within is Eventually with a bound that the test promises. It returns how long it waited.
func Within(tb testing.TB, what string, bound time.Duration, ok func() bool) time.Duration {
	tb.Helper()
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > bound {
			tb.Fatalf("not true within %s: %s", bound, what)
		}
		<-tick.C
	}
	return time.Since(start)
}

// Missing ends a test for which a component is not installed. It is skipped with one line, and fails in CI, which has to have all.
func Missing(tb testing.TB, component string) {
	tb.Helper()
	if os.Getenv("CI") != "" {
		tb.Fatalf("%s is missing; run .ci/install", component)
	}
	tb.Skipf("SKIPPED: %s is missing; run .ci/install", component)
}
