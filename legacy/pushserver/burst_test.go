package pushserver_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

// A client that sends at once more commands than the edge takes in a second is answered every one of them.
func TestBurst_isReadSlowly(t *testing.T) {
	h := start(t)
	c := h.dial(t, 0, "/")
	const commands = 300 // 200 at once, and 100 a second
	for i := range commands {
		testkit.Check(t, c.ws.WriteJSON(map[string]any{
			"messageType": "CLIENT_ACTION", "action": "SUBSCRIBE", "data": map[string]string{"channel": fmt.Sprint("none-", i)},
		}))
	}
	for i := range commands {
		if f := c.next(); f.Type != "ERROR" || f.Code != 404 {
			t.Fatalf("command %d is answered with %+v", i, f)
		}
	}
}
