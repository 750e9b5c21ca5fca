package edge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// A client that comes and goes in a loop, over several connections, does not push other people's events out of the log.
func TestEvents_outliveOneThatFlaps(t *testing.T) {
	const connections, turns = 4, 800
	keep := bus.Retention{Length: 5000, Age: time.Hour}
	store := memory.New(memory.Config{Events: keep})
	h := startOn(t, store, edge.Config{Namespaces: bus.Namespaces{Events: keep}, CommandsPerSecond: 1e6, CommandBurst: 1e6, Subscriptions: turns})
	watched := h.connected(h.token("bob", everything))
	defer watched.leave()
	for i := range connections {
		c := h.connected(h.token("mallory", everything))
		for _, command := range []string{"subscribe", "unsubscribe"} {
			for j := range turns {
				c.send(fmt.Sprintf(`{"id":2,%q:{"address":"channels/flap:%d-%d"}}`, command, i, j))
				c.read()
			}
		}
	}
	last := h.connected(h.token("carol", everything))
	defer last.leave()
	last.subscribe("channels/room")
	var kinds map[bus.EventKind]int
	var users map[string]int
	testkit.Eventually(t, "the events are told", func() bool {
		kinds, users = make(map[bus.EventKind]int), make(map[string]int)
		var at bus.Position
		for more, room := true, false; more; {
			page, err := store.Since(t.Context(), bus.EventLog, keep, at, 1000)
			testkit.Check(t, err)
			for _, m := range page.Messages {
				e, err := bus.EventOf(m)
				testkit.Check(t, err)
				kinds[e.Kind]++
				users[e.User]++
				room = room || e.Address == "channels/room"
			}
			if at, more = page.Next, page.More; !more && !room {
				return false
			}
		}
		return true
	})
	if n := kinds[bus.EventOccupied]; n > 1100 {
		t.Errorf("%d times occupied", n)
	}
	if users["bob"] == 0 || users["carol"] == 0 {
		t.Errorf("events of users are %v", users)
	}
}
