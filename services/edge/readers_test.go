package edge_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// wire is a client that writes the bytes of frames itself.
type wire struct {
	net.Conn
	ws *websocket.Conn // reads
}

func (h *fixture) wire() *wire {
	h.tb.Helper()
	c := h.connected(h.token("ada", everything))
	return &wire{Conn: c.ws.NetConn(), ws: c.ws}
}

const (
	finText, finPing, finPong, finClose = 0x81, 0x89, 0x8A, 0x88
	text, more, finMore                 = 0x01, 0x00, 0x80
)

// pieces writes bytes in random pieces, so that frames are cut anywhere.
func (w *wire) pieces(tb testing.TB, random *rand.Rand, b []byte) {
	tb.Helper()
	for len(b) > 0 {
		n := 1 + random.IntN(min(len(b), 1+random.IntN(300)))
		_, err := w.Write(b[:n])
		testkit.Check(tb, err)
		b = b[n:]
		runtime.Gosched()
	}
}

// Commands are answered one by one however their frames are cut, fragmented, or mixed with pings and pongs.
func TestReaders_anyCut(t *testing.T) {
	h := start(t, edge.Config{CommandsPerSecond: 1e6, CommandBurst: 1e6, FrameSize: 128 << 10})
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := h.wire()
		var out []byte
		pings := 0
		const commands = 60
		for i := 1; i <= commands; i++ {
			command := fmt.Sprintf(`{"id":%d,"ping":{}%s}`, i, strings.Repeat(" ", []int{0, 100, 5_000, 70_000}[random.IntN(4)]))
			switch random.IntN(3) {
			case 0:
				out = append(out, testkit.ClientFrame(finText, command)...)
			case 1: // in three fragments, with a ping and a pong between them
				cut := random.IntN(len(command))
				out = append(out, testkit.ClientFrame(text, command[:cut])...)
				out = append(out, testkit.ClientFrame(finPing, "between")...)
				pings++
				out = append(out, testkit.ClientFrame(more, command[cut:])...)
				out = append(out, testkit.ClientFrame(finPong, "x")...)
				out = append(out, testkit.ClientFrame(finMore, "")...)
			case 2:
				out = append(out, testkit.ClientFrame(finPing, "before")...)
				pings++
				out = append(out, testkit.ClientFrame(finText, command)...)
				out = append(out, testkit.ClientFrame(finPong, "")...)
			}
		}
		out = append(out, testkit.ClientFrame(finClose, "\x03\xe8bye")...)
		done := make(chan struct{})
		go func() { defer close(done); w.pieces(t, random, out) }()
		pongs := 0
		w.ws.SetPongHandler(func(s string) error {
			if s != "between" && s != "before" {
				t.Errorf("a pong says %q", s)
			}
			pongs++
			return nil
		})
		testkit.Check(t, w.ws.SetReadDeadline(time.Now().Add(30*time.Second)))
		for i := 1; i <= commands; i++ {
			_, b, err := w.ws.ReadMessage()
			if err != nil || string(b) != fmt.Sprintf(`{"id":%d,"pong":{}}`, i) {
				t.Fatalf("seed %d: command %d is answered with %s, %v", seed, i, b, err)
			}
		}
		if _, _, err := w.ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("seed %d: the end is %v", seed, err)
		}
		<-done
		if pongs == 0 || pongs > pings { // only the last of several pings at once has to be answered (RFC 6455, section 5.5.3)
			t.Errorf("seed %d: %d pongs for %d pings", seed, pongs, pings)
		}
	}
}

// What breaks the protocol ends the connection, also as the first bytes after a pause.
func TestReaders_brokenFrames(t *testing.T) {
	h := start(t, edge.Config{})
	for name, b := range map[string][]byte{
		"no mask":        {finText, 2, '{', '}'},
		"reserved bit":   append([]byte{finText | 0x40}, testkit.ClientFrame(finText, "{}")[1:]...),
		"unknown opcode": testkit.ClientFrame(0x83, "x"),
		"long ping":      testkit.ClientFrame(finPing, strings.Repeat("x", 126)),
		"cut ping":       testkit.ClientFrame(0x09, "x"),
		"loose fragment": testkit.ClientFrame(finMore, "x"),
		"length of 2^63": append([]byte{finText, 0x80 | 127}, bytes.Repeat([]byte{0xFF}, 12)...),
		"unmasked ping":  {finPing, 1, 'x'},
	} {
		w := h.wire()
		_, err := w.Write(b)
		testkit.Check(t, err)
		testkit.Check(t, w.ws.SetReadDeadline(time.Now().Add(10*time.Second)))
		if _, _, err := w.ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseProtocolError, websocket.CloseMessageTooBig) {
			t.Errorf("%s: %v", name, err)
		}
		_ = w.Close()
	}
	testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
}

// A silent connection costs no goroutine, still gets messages and pings, and its end is noticed however it comes.
func TestReaders_parked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: there is no poller on this system")
	}
	h := start(t, edge.Config{PingInterval: time.Second})
	const clients = 100
	before := runtime.NumGoroutine()
	var all []*client
	for range clients {
		c := h.connected(h.token("ada", everything))
		c.subscribe("channels/live:x")
		all = append(all, c)
	}
	// The HTTP server's goroutines end, workers rest, and nothing of ours waits for each connection.
	testkit.Eventually(t, "goroutines have gone", func() bool { return runtime.NumGoroutine() < before+clients/2 })
	h.pub("channels/live:x", `1`)
	for _, c := range all {
		c.message()
	}
	pinged := make(chan string, 1)
	all[0].ws.SetPingHandler(func(s string) error { pinged <- s; return nil })
	go func() { _, _, _ = all[0].ws.ReadMessage() }()
	<-pinged // and unanswered
	testkit.Eventually(t, "some have ended", func() bool { return h.edge.Connections() < clients })
	left := h.edge.Connections()
	_ = all[1].ws.NetConn().Close() // without a word
	tcp := all[2].ws.NetConn().(*net.TCPConn)
	testkit.Check(t, tcp.SetLinger(0))
	_ = tcp.Close() // a reset
	all[3].leave()
	testkit.Eventually(t, "three more have ended", func() bool { return h.edge.Connections() <= left-3 })
}

// Frames that come with the same bytes as others are not forgotten when the session is parked between them.
func TestReaders_burst(t *testing.T) {
	h := start(t, edge.Config{CommandsPerSecond: 1e6, CommandBurst: 1e6})
	w := h.wire()
	var out []byte
	for i := 1; i <= 500; i++ {
		out = append(out, testkit.ClientFrame(finText, fmt.Sprintf(`{"id":%d,"ping":{}}`, i))...)
	}
	b := bufio.NewWriterSize(w, 1<<20)
	_, err := b.Write(out)
	testkit.Check(t, err)
	testkit.Check(t, b.Flush())
	testkit.Check(t, w.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for i := 1; i <= 500; i++ {
		if _, got, err := w.ws.ReadMessage(); err != nil || string(got) != fmt.Sprintf(`{"id":%d,"pong":{}}`, i) {
			t.Fatalf("command %d: %s, %v", i, got, err)
		}
	}
}
