package pushserver_test

import "testing"

// A token of the site's own in the query is none of ours, and the original looked at none.
func TestPushServer_foreignToken(t *testing.T) {
	h := start(t)
	h.dial(t, 0, "/?token=mine")
}
