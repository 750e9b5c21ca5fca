package edge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// Whoever comes and goes in a loop makes a few events, and not one for each time and listener. In the end everybody knows.
func TestPresenceEvents_ofALoop(t *testing.T) {
	const grace = 700 * time.Millisecond
	twoEdgesWith(t, edge.Config{LostGrace: grace, Departures: 5}, 0, func(t *testing.T, a, b *fixture) {
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

// A client that does not answer pings, as one whose network is gone, leaves when it is found out: the grace has passed.
func TestPresenceEvents_halfOpen(t *testing.T) {
	const ping = 2 * time.Second
	h := start(t, edge.Config{PingInterval: ping, LostGrace: time.Second})
	watcher := h.watch("watcher")
	h.client("bob").subscribe(room) // and reads no more
	watcher.event("JOINED bob")
	joined := time.Now()
	at := watcher.event("LEFT bob lost")
	if d := time.Since(joined); d > 2*ping+2*time.Second { // a sweep a second finds it
		t.Errorf("it shows after %v", d)
	}
	if d := at.Sub(joined); d < -time.Second || d > ping+time.Second {
		t.Errorf("the event is %v after the client was last heard of", d)
	}
}
