package rooms_test

import (
	"strings"
	"testing"
)

// A message of a size that the original took arrives: at its addressee, at everybody, and at a client that comes later.
func TestSize_largeMessagesArrive(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		text := strings.Repeat("ä", 600_000)
		ann, bob := h.as(t, 0, "ann"), h.as(t, 1, "bob")
		bob.before()
		ann.message("", text)
		if f := bob.get("sendMessage"); f.text(t) != text {
			t.Errorf("everybody is sent %d bytes", len(f.text(t)))
		}
		ann.message("bob", text)
		if f := bob.get("sendMessage"); f.text(t) != text {
			t.Errorf("the addressee is sent %d bytes", len(f.text(t)))
		} else {
			bob.send("ack", f.ID)
		}
		ann.message("eve", text)
		ann.before()
		if f := h.as(t, 1, "eve").get("sendMessage"); f.text(t) != text {
			t.Errorf("a client that comes later is sent %d bytes", len(f.text(t)))
		}
	})
}
