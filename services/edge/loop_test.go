package edge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// Whoever comes and goes in a loop makes a few events, and not one for each time and listener. In the end everybody knows.
func TestPresenceEvents_ofALoop(t *testing.T) {
	const grace = 700 * time.Millisecond
	twoEdgesFor(t, grace, 5, func(t *testing.T, a, b *fixture) {
		watcher := a.watch("watcher")
		bob := b.client("bob")
		for i := range 40 {
			bob.send(fmt.Sprintf(`{"id":%d,"subscribe":{"address":%q}}`, 2*i+2, room))
			bob.send(fmt.Sprintf(`{"id":%d,"unsubscribe":{"address":%q}}`, 2*i+3, room))
			for range 2 {
				if f := bob.read(); f["subscribed"] == nil && f["unsubscribed"] == nil {
					t.Fatalf("got %v", f)
				}
			}
		}
		testkit.Eventually(t, "bob is gone", func() bool { return a.members() == "watcher@a" })
		a.pub(room, `"end"`)
		events := 0
		for {
			f := watcher.read()
			if f["message"] != nil {
				break
			}
			events++
		}
		if events < 2 || events > 16 {
			t.Errorf("40 rounds made %d events", events)
		}
		// A connection that ends counts as leaving, too.
		for range 3 {
			again := b.client("bob")
			again.subscribe(room)
			again.leave()
		}
		testkit.Eventually(t, "bob is gone again", func() bool { return a.members() == "watcher@a" })
		a.pub(room, `"end"`)
		for events = 0; watcher.read()["message"] == nil; {
			events++
		}
		if events > 4 {
			t.Errorf("three connections more made %d events", events)
		}
	})
}
