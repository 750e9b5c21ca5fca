package rooms_test

import (
	"fmt"
	"testing"
)

// A client that sends at once more than the edge takes in a second loses nothing: it is read more slowly.
func TestBurst_isReadSlowly(t *testing.T) {
	h := start(t)
	a, b := h.as(t, 0, "ann"), h.as(t, 0, "bob")
	b.before()
	const messages = 300 // 200 at once, and 100 a second
	go func() {
		for i := range messages {
			a.message("", i)
		}
	}()
	for i := range messages {
		if f := b.get("sendMessage"); f.text(t) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, f.text(t))
		}
	}
}
