package facility_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// open is a bare connection that has shaken hands.
func open(t *testing.T, at, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", at)
	testkit.Check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testkit.Check(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, handshake("GET /ws/"+path+" HTTP/1.1", nil))
	testkit.Check(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the body is the connection
	testkit.Check(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return conn, r
}

// A payload that came in several TCP segments ended the socket.
func TestFault_SplitPayloadEndsTheSocket(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		all := h.dial(t, 0, "f?subscribe-broadcast", nil)
		conn, r := open(t, h.at[0], "f?publish-broadcast")
		text := strings.Repeat("slowly ", 200<<10/7)
		frame := testkit.ClientFrame(0x81, text)
		for len(frame) > 0 {
			n := min(len(frame), 8<<10)
			_, err := conn.Write(frame[:n])
			testkit.Check(t, err)
			frame = frame[n:]
		}
		all.gets(text)
		_, err := conn.Write(testkit.ClientFrame(0x88, "\x03\xe8"))
		testkit.Check(t, err)
		bye := make([]byte, 4)
		_, err = io.ReadFull(r, bye)
		testkit.Check(t, err)
		if string(bye) != "\x88\x02\x03\xe8" {
			t.Errorf("closed with %q", bye)
		}
	})
}

// An empty text frame and a ping without a payload ended the socket.
func TestFault_EmptyFramesEndTheSocket(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		all := h.dial(t, 1, "f?subscribe-broadcast", nil)
		c := h.dial(t, 0, "f?publish-broadcast&subscribe-broadcast&echo", nil)
		c.send("")
		all.gets("")
		c.gets("")
		testkit.Check(t, c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
		if e := c.next(); e.kind != websocket.PongMessage || e.err != nil {
			t.Errorf("got %+v", e)
		}
		c.send("still here")
		all.gets("still here")
	})
}

// A facility's name had no bound.
func TestFault_FacilityOfAnyLength(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		long := strings.Repeat("f", 5000)
		c := h.dial(t, 0, long+"?subscribe-broadcast&publish-broadcast&echo", nil)
		other := h.dial(t, 1, long+"g?subscribe-broadcast", nil)
		c.send("mine")
		c.gets("mine")
		if got := other.kept(); got != "" {
			t.Errorf("another facility got %q", got)
		}
	})
	if a := raw(t, start(t).at[0], handshake("GET /ws/"+strings.Repeat("f", 1<<20)+" HTTP/1.1", nil)); a.status != 431 {
		t.Errorf("a path of a megabyte: %d", a.status)
	}
}

// Frames without a mask were accepted, and what broke the protocol met an undefined name.
func TestFault_UnmaskedFrames(t *testing.T) {
	h := start(t)
	all := h.dial(t, 0, "f?subscribe-broadcast", nil)
	for name, frame := range map[string]string{
		"no mask": "\x81\x02hi", "reserved bits": "\xf1\x80\x00\x00\x00\x00", "unknown opcode": "\x83\x80\x00\x00\x00\x00",
	} {
		conn, r := open(t, h.at[0], "f?publish-broadcast")
		_, err := io.WriteString(conn, frame)
		testkit.Check(t, err)
		bye := make([]byte, 4)
		if _, err := io.ReadFull(r, bye); err != nil || bye[0] != 0x88 || binary.BigEndian.Uint16(bye[2:]) != 1002 {
			t.Errorf("%s: closed with %q, %v", name, bye, err)
		}
	}
	h.publish(t, "broadcast:f", "others go on")
	all.gets("others go on")
}

// Sockets stayed listed after an error, each with a thread and a connection to Redis.
func TestFault_DeadPeersStay(t *testing.T) {
	often := apptest.With(func(c *config.Config) { c.Edge.PingInterval = time.Second })
	everywhere(t, func(t *testing.T, h *deployment) {
		alive := h.dial(t, 0, "f?subscribe-broadcast", nil)
		for i := range 20 {
			conn, _ := open(t, h.at[i%len(h.at)], "f?subscribe-broadcast&subscribe-user")
			if i%2 == 0 { // the others stay, and never answer anything again
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		}
		h.publish(t, "broadcast:f", "x")
		alive.gets("x")
		testkit.Eventually(t, "they are gone", func() bool { return h.metric(t, "trunkline_edge_connections") == 1 })
		if h.old != nil {
			n, err := h.old.PubSubNumSub(soon(t), "ws4redis:broadcast:f").Result()
			testkit.Check(t, err)
			if n["ws4redis:broadcast:f"] > 1 {
				t.Errorf("Redis has %v", n)
			}
		}
		h.publish(t, "broadcast:f", "y")
		alive.gets("y")
		_ = alive.closes(1000, "")
		if h.old != nil {
			testkit.Eventually(t, "nobody follows it any more", func() bool {
				return h.old.PubSubNumSub(soon(t), "ws4redis:broadcast:f").Val()["ws4redis:broadcast:f"] == 0
			})
		}
	}, often)
}

// Illegal close codes harm nobody.
func TestFault_IllegalCloseCodes(t *testing.T) {
	h := start(t)
	all := h.dial(t, 0, "f?subscribe-broadcast", nil)
	var g sync.WaitGroup
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		g.Go(func() {
			conn, r := open(t, h.at[0], "f?publish-broadcast")
			if _, err := conn.Write(testkit.ClientFrame(0x88, string([]byte{byte(code >> 8), byte(code)}))); err != nil {
				t.Error(err)
			}
			bye := make([]byte, 4)
			if _, err := io.ReadFull(r, bye); err != nil || binary.BigEndian.Uint16(bye[2:]) != 1002 {
				t.Errorf("%d is answered with %q, %v", code, bye, err)
			}
		})
	}
	g.Wait()
	h.publish(t, "broadcast:f", "others go on")
	all.gets("others go on")
}

// A thousand sockets each get one broadcast.
func TestThousandSockets(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		const sockets = 1000
		all := make([]*client, sockets)
		for i := range all {
			all[i] = h.dial(t, i, "crowd?subscribe-broadcast", nil)
		}
		start := time.Now()
		h.publish(t, "broadcast:crowd", "Hello, World")
		for _, c := range all {
			c.gets("Hello, World")
		}
		t.Logf("%d sockets heard it within %s", sockets, time.Since(start))
	}, apptest.With(func(c *config.Config) { c.Edge.ConnectionsPerIP = 0 }))
}
