package facility_test

import (
	"testing"

	"github.com/trunkline/trunkline/legacy/facility"
)

// A server of sockets that ask for nothing sends everything to everybody, where the site says so.
func TestDefault_isWhatNothingAsksFor(t *testing.T) {
	h := start(t, with(func(f *facility.Settings) { f.Default = "subscribe-broadcast" }))
	bare, other := h.dial(t, 0, "", nil), h.dial(t, 0, "?publish-broadcast", nil)
	h.publish(t, "broadcast:", "note 1")
	bare.gets("note 1")
	if got := other.kept(); got != "" {
		t.Errorf("a socket that asks for something else got %q", got)
	}
	if _, err := facility.NewSocket(facility.SocketConfig{Default: "subscribe-everything"}); err == nil {
		t.Error("a query that means nothing is taken")
	}
}

// A token of the site's own in the query is none of ours, and the original looked at none.
func TestForeignToken(t *testing.T) {
	h := start(t)
	c := h.dial(t, 0, "x?subscribe-broadcast&token=mine", nil)
	h.publish(t, "broadcast:x", "hello")
	c.gets("hello")
}
