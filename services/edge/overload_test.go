package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// flood publishes numbered messages to a channel that a slow client does not read and a fast one does. It returns
// when the fast one has all of them, in order.
func flood(t *testing.T, address string, n int, attribute func(i int) map[string]string) (*fixture, *protoClient) {
	t.Helper()
	h := start(t, edge.Config{QueueBytes: 1 << 20})
	token := h.token("ada", everything)
	slow, fast := h.proto(token, address), h.proto(token, address)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if m := fast.message(); !strings.HasPrefix(string(m.GetData()), fmt.Sprintf(`"%d `, i)) {
				t.Errorf("the fast one got %.20s, want %d", m.GetData(), i)
				return
			}
		}
	})
	for i := range n {
		req := &publishv1.PublishRequest{To: address, Data: fmt.Appendf(nil, `"%d %s"`, i, strings.Repeat("x", 32<<10))}
		if attribute != nil {
			req.Attributes = attribute(i)
		}
		_, err := h.publish.Publish(t.Context(), req)
		testkit.Check(t, err)
	}
	wg.Wait()
	return h, slow
}

// number is the number of a message of flood.
func number(t *testing.T, m *publishv1.Message) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(string(m.GetData()), `"%d `, &n); err != nil {
		t.Fatalf("message %.20s: %v", m.GetData(), err)
	}
	return n
}

const flooded = 600 // of 32 KiB: more than two sockets and a queue hold

// A client that is behind on a durable channel reads what it was not given from the log, without a gap.
func TestOverload_catchesUp(t *testing.T) {
	_, slow := flood(t, "channels/kept:flood", flooded, nil)
	for i := range flooded {
		if got := number(t, slow.message()); got != i {
			t.Fatalf("got message %d, want %d", got, i)
		}
	}
}

// What the log does not keep any more is told before the rest is delivered.
func TestOverload_catchesUpWithAGap(t *testing.T) {
	_, slow := flood(t, "channels/short", flooded, nil)
	last, gaps := -1, 0
	for last < flooded-1 {
		f := slow.read()
		if g := f.GetGap(); g != nil {
			if int(g.GetAfter().GetOffset()) != last+1 || g.GetReason() != "history_trimmed" {
				t.Fatalf("after message %d came the gap %v", last, g)
			}
			gaps++
			last = int(g.GetTo().GetOffset()) - 1
			continue
		}
		if got := number(t, f.GetMessage()); got != last+1 {
			t.Fatalf("got message %d after %d", got, last)
		}
		last++
	}
	if gaps != 1 {
		t.Errorf("there were %d gaps", gaps)
	}
}

// A live channel skips the oldest messages, and says so in front of what follows.
func TestOverload_dropsOldest(t *testing.T) {
	_, slow := flood(t, "channels/live:flood", flooded, nil)
	last, gaps, skipped := -1, 0, false
	for last < flooded-1 {
		f := slow.read()
		if g := f.GetGap(); g != nil {
			if g.GetReason() != "slow_consumer" || g.GetAddress() != "channels/live:flood" {
				t.Fatalf("gap %v", g)
			}
			gaps++
			skipped = true
			continue
		}
		got := number(t, f.GetMessage())
		if got <= last || got > last+1 != skipped {
			t.Fatalf("got message %d after %d; told a gap: %t", got, last, skipped)
		}
		last, skipped = got, false
	}
	if gaps == 0 {
		t.Error("nothing was skipped: the test proves nothing")
	}
}

// A conflated channel ends with the newest message of every key.
func TestOverload_conflates(t *testing.T) {
	const matches = 5
	_, slow := flood(t, "channels/scores:flood", flooded, func(i int) map[string]string {
		return map[string]string{"match": fmt.Sprint(i % matches)}
	})
	newest := map[string]int{}
	last, gaps, got := -1, 0, 0
	for last < flooded-1 {
		f := slow.read()
		if f.GetGap() != nil {
			gaps++
			continue
		}
		n := number(t, f.GetMessage())
		if n <= last {
			t.Fatalf("got message %d after %d", n, last)
		}
		last = n
		got++
		newest[f.GetMessage().GetAttributes()["match"]] = n
	}
	for m := range matches {
		if want := flooded - matches + m; newest[fmt.Sprint(m)] != want {
			t.Errorf("match %d ended with message %d, want %d", m, newest[fmt.Sprint(m)], want)
		}
	}
	if gaps == 0 || got == flooded {
		t.Errorf("%d messages and %d gaps: nothing was conflated", got, gaps)
	}
}

// Where the namespace says so, the connection is closed with a code that says resume.
func TestOverload_disconnects(t *testing.T) {
	h, slow := flood(t, "channels/disconnect:flood", flooded, nil)
	testkit.Check(t, slow.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		_, _, err := slow.ws.ReadMessage()
		if err == nil {
			continue
		}
		var e *websocket.CloseError
		if !errors.As(err, &e) || e.Code != 4508 && e.Code != websocket.CloseAbnormalClosure {
			t.Errorf("closed with %v", err)
		}
		break
	}
	testkit.Eventually(t, "one connection is left", func() bool { return h.edge.Connections() == 1 })
}

// An unsubscribe while the client is behind ends the address; the connection goes on.
func TestOverload_unsubscribedWhileBehind(t *testing.T) {
	h, slow := flood(t, "channels/kept:flood", flooded, nil)
	slow.send(&edgev1.ClientFrame{Id: 9, Command: &edgev1.ClientFrame_Unsubscribe{Unsubscribe: &edgev1.Unsubscribe{Address: "channels/kept:flood"}}})
	for slow.read().GetUnsubscribed() == nil {
	}
	h.pub("users/ada", `"still here"`)
	for {
		if m := slow.read().GetMessage(); m.GetTo() == "users/ada" {
			break
		}
	}
}
