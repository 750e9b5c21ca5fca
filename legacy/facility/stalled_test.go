package facility_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What waits for readers that stall has a bound for all of them together. Those for which the most waits are sent away, and a client
// that reads is served beside them.
func TestStalled_areBoundedTogether(t *testing.T) {
	const readers, size, messages, bound = 200, 3 << 20, 3, 64 << 20
	h := start(t, apptest.With(func(c *config.Config) { c.Legacy.QueueBytes, c.Edge.ConnectionsPerIP = bound, 0 }))
	honest := h.dial(t, 0, "f?subscribe-broadcast", nil)
	dialer := websocket.Dialer{ReadBufferSize: 256, WriteBufferSize: 256, NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4 << 10)
		}
		return conn, err
	}}
	for range readers {
		ws, resp, err := dialer.DialContext(soon(t), "ws://"+h.at[0]+"/ws/f?subscribe-broadcast", nil)
		testkit.Check(t, err)
		testkit.Check(t, resp.Body.Close())
		t.Cleanup(func() { _ = ws.Close() })
	}
	before := heap()
	for i := range messages {
		text := fmt.Sprint(i) + strings.Repeat("x", size-1)
		h.publish(t, "broadcast:f", text)
		honest.gets(text)
	}
	if most := h.metric(t, "trunkline_edge_dialect_waiting_bytes"); most == 0 || most > bound {
		t.Errorf("%d bytes wait, the bound is %d", most, bound)
	}
	// What the store keeps and what this test has is beside it.
	if grown := heap() - before; grown > bound+16*size {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if n := h.metric(t, "trunkline_edge_dialect_overflows_total"); n < readers/2 {
		t.Errorf("%d clients were sent away", n)
	}
	h.publish(t, "broadcast:f", "the end")
	honest.gets("the end")
}

// heap is what is in use after a collection.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
