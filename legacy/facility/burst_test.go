package facility_test

import (
	"fmt"
	"testing"
)

// A page that sends at once more than the edge takes in a second loses nothing: it is read more slowly.
func TestBurst_isReadSlowly(t *testing.T) {
	h := start(t)
	all := h.dial(t, 0, "f?subscribe-broadcast", nil)
	c := h.dial(t, 0, "f?publish-broadcast", nil)
	const frames = 300 // 200 at once, and 100 a second
	for i := range frames {
		c.send(fmt.Sprint(i))
	}
	for i := range frames {
		all.gets(fmt.Sprint(i))
	}
	if n := h.metric(t, `trunkline_edge_frames_paused_total{dialect="facility"}`); n == 0 {
		t.Error("no pause is counted")
	}
	if n := h.metric(t, `trunkline_edge_dialect_connections{dialect="facility"}`); n != 2 {
		t.Errorf("%d open sockets are counted, want 2", n)
	}
}
