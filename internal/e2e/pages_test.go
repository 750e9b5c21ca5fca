package e2e_test

import "testing"

// The client of the pages is told who comes and goes, and keeps its messages when a later token does not grant that.
func TestPageClient_presence(t *testing.T) {
	script(t, nil, "node", "testdata/presence.mjs")
}

// It comes back by the newest resume ticket, and by the token when that is not taken.
func TestPageClient_ticket(t *testing.T) {
	script(t, nil, "node", "testdata/ticket.mjs")
}
