package edge_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

func (h *fixture) retain(to, data string) {
	h.tb.Helper()
	_, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data), Retain: durationpb.New(time.Minute)})
	testkit.Check(h.tb, err)
}

func (c *client) subscribeFromLast(address string) {
	c.tb.Helper()
	c.send(fmt.Sprintf(`{"id":3,"subscribe":{"address":%q,"fromLast":true}}`, address))
	if f := c.read(); f["subscribed"] == nil {
		c.tb.Fatalf("subscribe was answered with %v", f)
	}
}

func TestSubscribe_fromLast(t *testing.T) {
	h := start(t, edge.Config{})
	for _, address := range []string{"channels/live:x", "channels/kept:x", "users/ada/topics/t", "broadcast/topics/t"} {
		t.Run(address, func(t *testing.T) {
			h.retain(address, "1")
			h.retain(address, "2")
			c := h.connected(h.token("ada", everything))
			c.subscribeFromLast(address)
			if m := c.message(); m["data"] != 2.0 || m["redelivered"] != true {
				t.Errorf("got %v", m)
			}
			h.pub(address, "3")
			if m := c.message(); m["data"] != 3.0 || m["redelivered"] != nil {
				t.Errorf("got %v", m)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		c := h.connected(h.token("ada", everything))
		c.subscribeFromLast("channels/live:nothing")
		h.pub("channels/live:nothing", "1")
		if m := c.message(); m["data"] != 1.0 {
			t.Errorf("got %v", m)
		}
	})
	t.Run("needs the history right", func(t *testing.T) {
		c := h.connected(h.token("ada", "subscribe channels/live:x"))
		c.send(`{"id":3,"subscribe":{"address":"channels/live:x","fromLast":true}}`)
		if f := c.read(); f["error"] == nil {
			t.Errorf("got %v", f)
		}
	})
}

// Whoever subscribes while somebody publishes gets each message from the first one on, without a hole and without a repeat.
func TestSubscribe_fromLastWhileSomebodyPublishes(t *testing.T) {
	h := start(t, edge.Config{})
	for _, address := range []string{"channels/live:busy", "channels/kept:busy"} {
		t.Run(address, func(t *testing.T) {
			stop := make(chan struct{})
			var done sync.WaitGroup
			h.retain(address, "0")
			done.Go(func() {
				for i := 1; ; i++ {
					select {
					case <-stop:
						return
					default:
						h.retain(address, fmt.Sprint(i))
					}
				}
			})
			defer done.Wait()
			defer close(stop)
			for range 30 {
				c := h.connected(h.token("ada", everything))
				c.subscribeFromLast(address)
				next := c.message()["data"].(float64) + 1
				for range 20 {
					if m := c.message(); m["data"] != next {
						t.Fatalf("got %v, want %v", m["data"], next)
					}
					next++
				}
				c.leave()
			}
		})
	}
}
