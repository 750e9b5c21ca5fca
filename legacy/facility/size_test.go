package facility_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
)

// A message of a size that the original took arrives at other sockets and is kept. A socket may send it, the older Python
// publisher over Redis, or a back end. Several at once arrive too.
func TestSize_largeMessagesArrive(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		large := func(mark string) string { return mark + strings.Repeat("ä", 800_000) }
		here, there := h.dial(t, 0, "f?subscribe-broadcast", nil), h.dial(t, 1, "f?subscribe-broadcast", nil)
		sender := h.dial(t, 0, "f?publish-broadcast", nil)
		sender.send(large("a socket"))
		here.gets(large("a socket"))
		there.gets(large("a socket"))
		_ = sender.closes(1000, "")
		if h.stored(t, "broadcast:f") != large("a socket") {
			t.Error("it is not kept")
		}
		for _, mark := range []string{"1", "2", "3"} {
			h.publish(t, "broadcast:f", large(mark))
			h.natively(t, "broadcast/topics/f", large("native "+mark))
		}
		for _, c := range []*client{here, there} {
			for _, mark := range []string{"1", "2", "3"} {
				c.gets(large(mark), large("native "+mark))
			}
		}
	})
}

// Several large messages wait for a client that reads late, and none of them is left out.
func TestSize_largeMessagesWait(t *testing.T) {
	h := start(t)
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(64 << 10) // so that little waits at the client
		}
		return conn, err
	}}
	ws, resp, err := dialer.DialContext(soon(t), "ws://"+h.at[0]+"/ws/f?subscribe-broadcast", nil)
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	defer func() { testkit.Check(t, ws.Close()) }()
	large := func(i int) string { return fmt.Sprint(i) + strings.Repeat("x", 2<<20) }
	for i := range 4 {
		h.publish(t, "broadcast:f", large(i))
	}
	for i := range 4 {
		testkit.Check(t, ws.SetReadDeadline(time.Now().Add(15*time.Second)))
		_, data, err := ws.ReadMessage()
		testkit.Check(t, err)
		if string(data) != large(i) {
			t.Fatalf("message %d is %.20q… of %d bytes", i, data, len(data))
		}
	}
}

// The largest message is a setting, for sockets and for back ends. A larger frame ends the socket with the code for that.
func TestSize_isASetting(t *testing.T) {
	h := start(t, with(func(f *facility.Settings) { f.MaxMessage = 200 << 10 }))
	all := h.dial(t, 0, "f?subscribe-broadcast", nil)
	for _, size := range []int{200 << 10, 200<<10 + 1} {
		c := h.dial(t, 0, "f?publish-broadcast", nil)
		text := strings.Repeat("x", size)
		c.send(text)
		if size == 200<<10 {
			all.gets(text)
		} else if e := c.next(); e.err == nil || !strings.Contains(e.err.Error(), "1009") {
			t.Errorf("%d bytes: got %v", size, e.err)
		}
	}
	if config.Size(facility.DefaultMaxMessage) < 2<<20 {
		t.Error("the default is less than messages that sites send")
	}
}

// A user of many groups hears all of them.
func TestSubscriptions_ofManyGroups(t *testing.T) {
	h := start(t)
	groups := make([]string, 100)
	for i := range groups {
		groups[i] = strings.Repeat("g", i+1)
	}
	c := h.dial(t, 0, "f?subscribe-group&subscribe-user&subscribe-broadcast", cookie(h.login(t, "john", groups...)))
	for _, g := range groups {
		h.publish(t, "group:"+g+":f", g)
		c.gets(g)
	}
}
