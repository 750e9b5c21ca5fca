// Package bustest is the contract suite: what internal/bus promises of a store, proved on every store. Tests
// use addresses of their own, so a shared server will do.
package bustest

import (
	"testing"
)

// Run proves the whole contract.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"publish", testPublish},
		{"idempotency", testIdempotency},
		{"feed", testFeed},
		{"log", testLog},
		{"inbox", testInbox},
		{"states", testStates},
		{"roster", testRoster},
		{"events", testEvents},
		{"cursors", testCursors},
		{"tokens", testTokens},
		{"families", testFamilies},
		{"log of revocations", testRevocationLog},
		{"revocations", testRevocations},
		{"revocations rise", testRevocationsRise},
		{"channels", testChannels},
		{"values", testValues},
		{"census", testCensus},
		{"retained", testRetained},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open) })
	}
}
