package edge_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// The edge is held to RFC 6455 on every way that a connection is read and written. That is with a poller, with a goroutine for each
// connection, and over TLS. The cases are in conformance_cases_test.go.

// frameLimit is the largest message in these tests.
const frameLimit = 1024

// plainConn is a connection of which the edge does not see that it is a TCP socket.
type plainConn struct{ net.Conn }

// CloseWrite ends what the server writes, as that of TCP and of TLS.
func (c plainConn) CloseWrite() error {
	half, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return plainConn{c}, nil
}

// transports are servers of one edge by the way that their connections are read and written.
func (h *fixture) transports() map[string]*httptest.Server {
	handler := h.edge.Handler(edge.Route{Dialects: []dialect.Dialect{native.Proto{}, native.JSON{}}})
	portable := httptest.NewUnstartedServer(handler)
	portable.Listener = plainListener{portable.Listener}
	portable.Start()
	all := map[string]*httptest.Server{"poller": h.http, "portable": portable, "TLS": httptest.NewTLSServer(handler)}
	h.tb.Cleanup(func() {
		h.stop()
		all["portable"].Close()
		all["TLS"].Close()
	})
	return all
}

// sessions spare most connections a whole TLS handshake.
var sessions = tls.NewLRUClientSessionCache(0)

// raw is a client that writes bytes and reads frames.
type raw struct {
	net.Conn
	r    *bufio.Reader
	user string
	// answers says whether a close frame is answered (RFC 6455, section 5.5.1), when all is written.
	answers bool
}

// dialRaw connects with a token, as far as the answer to it.
func dialRaw(s *httptest.Server, token string) (*raw, error) {
	at := s.Listener.Addr().String()
	conn, err := net.Dial("tcp", at)
	if err == nil && s.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: sessions})
	}
	if err != nil {
		return nil, err
	}
	w := &raw{Conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", native.SubprotocolJSON)
	if err != nil {
		return w, err
	}
	resp, err := http.ReadResponse(w.r, nil) //nolint:bodyclose // it is the connection
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return w, fmt.Errorf("the handshake was answered with %v, %w", resp, err)
	}
	if _, err := conn.Write(testkit.ClientFrame(finText, fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))); err != nil {
		return w, err
	}
	if said := w.said(); said != "connected" {
		return w, fmt.Errorf("connect was answered with %s", said)
	}
	return w, nil
}

// said returns what the next frame says.
func (w *raw) said() string {
	head := make([]byte, 2)
	if _, err := io.ReadFull(w.r, head); err != nil {
		if errors.Is(err, io.EOF) {
			return "end"
		}
		return "cut"
	}
	length := int(head[1] & 0x7F)
	if length == 126 {
		long := make([]byte, 2)
		_, _ = io.ReadFull(w.r, long) // what is cut shows below
		length = int(binary.BigEndian.Uint16(long))
	}
	p := make([]byte, length)
	if _, err := io.ReadFull(w.r, p); err != nil {
		return "cut"
	}
	switch head[0] {
	case finClose:
		if len(p) < 2 {
			return "close"
		}
		return fmt.Sprintf("close %d", binary.BigEndian.Uint16(p))
	case finPong:
		return fmt.Sprintf("pong %q", p)
	case finText:
		return event(p)
	}
	return fmt.Sprintf("frame %x", head)
}

// event is the name of a server's event, and the reason of an error.
func event(p []byte) string {
	var f map[string]json.RawMessage
	if err := json.Unmarshal(p, &f); err != nil {
		return "no JSON"
	}
	delete(f, "id")
	for name, value := range f {
		var e struct{ Reason string }
		if name == "error" && json.Unmarshal(value, &e) == nil {
			return "error " + e.Reason
		}
		return name
	}
	return "nothing"
}

// ways are how frames are written.
var ways = []struct {
	name   string
	writes func(frames [][]byte) [][]byte
}{
	{"a frame at a time", func(f [][]byte) [][]byte { return f }},
	{"a byte at a time", func(f [][]byte) (all [][]byte) {
		for b := range slices.Chunk(slices.Concat(f...), 1) {
			all = append(all, b)
		}
		return all
	}},
	{"everything at once", func(f [][]byte) [][]byte { return [][]byte{slices.Concat(f...)} }},
	{"behind another frame", func(f [][]byte) [][]byte {
		return [][]byte{slices.Concat(append([][]byte{testkit.ClientFrame(finText, `{"id":7,"ping":{}}`)}, f...)...)}
	}},
}

// talk writes and returns everything that the server says, up to its end. Of several pongs in a row the last one counts
// (RFC 6455, section 5.5.3).
func (w *raw) talk(writes [][]byte) string {
	var writer sync.WaitGroup
	writer.Go(func() {
		for _, b := range writes {
			if _, err := w.Write(b); err != nil {
				return // the server has closed
			}
		}
	})
	defer writer.Wait()
	var all []string
	for {
		said := w.said()
		if n := len(all); n > 0 && strings.HasPrefix(said, "pong ") && strings.HasPrefix(all[n-1], "pong ") {
			all = all[:n-1]
		}
		all = append(all, said)
		if said == "end" || said == "cut" {
			_ = w.Close()
			return strings.Join(all, ", ")
		}
		if strings.HasPrefix(said, "close") && w.answers {
			writer.Wait()
			_, _ = w.Write(goodbye) // where the server has not closed
		}
	}
}

// Every case has the answer that RFC 6455 asks for, on every transport and however its bytes arrive.
func TestConformance(t *testing.T) {
	h := start(t, edge.Config{FrameSize: frameLimit, CommandsPerSecond: 1e6, CommandBurst: 1e6, FramesPerSecond: 1e6})
	token := h.token("ada", everything)
	cases, tried := conformanceCases(), 0
	for transport, server := range h.transports() {
		jobs := make(chan func())
		var workers sync.WaitGroup
		for range 16 {
			workers.Go(func() {
				for job := range jobs {
					job()
				}
			})
		}
		for _, c := range cases {
			for _, way := range ways {
				tried++
				jobs <- func() {
					w, err := dialRaw(server, token)
					if err != nil {
						t.Errorf("%s: %v", transport, err)
						return
					}
					w.answers = true
					want := c.want
					if way.name == "behind another frame" {
						want = "pong, " + want
					}
					if got := w.talk(way.writes(c.frames)); got != want+", end" {
						t.Errorf("%s, %s, %s: got %s, want %s", transport, c.name, way.name, got, want)
					}
				}
			}
		}
		close(jobs)
		workers.Wait()
	}
	if len(cases) < 250 {
		t.Errorf("there are %d cases only", len(cases))
	}
	t.Logf("%d cases, %d runs", len(cases), tried)
	testkit.Eventually(t, "no connection is left", func() bool { return h.edge.Connections() == 0 })
}

// A client that does not answer a close frame ends as the others do, after the time that it has for the answer.
func TestConformance_closeIsNotAnswered(t *testing.T) {
	const wait = 100 * time.Millisecond
	h := start(t, edge.Config{FrameSize: frameLimit, CloseWait: wait})
	token := h.token("ada", everything)
	for transport, server := range h.transports() {
		for _, c := range conformanceCases() {
			if c.name != "binary" && !strings.HasPrefix(c.name, `text "\xfe"`) {
				continue
			}
			w, err := dialRaw(server, token)
			testkit.Check(t, err)
			from := time.Now()
			if got := w.talk(c.frames); got != c.want+", end" {
				t.Errorf("%s, %s: got %s, want %s", transport, c.name, got, c.want)
			}
			if took := time.Since(from); took < wait {
				t.Errorf("%s, %s: the client had %v only", transport, c.name, took)
			}
		}
	}
}
