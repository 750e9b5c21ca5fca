package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// limitServer keeps connections by channel and writes to them from the goroutine that reads publications.
type limitServer struct {
	mode     string
	upgrader websocket.Upgrader
	mu       sync.Mutex
	channels map[string]map[*websocket.Conn]struct{}
}

// ServeLimit is a server that does no more than any must.
func ServeLimit(args []string) error {
	flags := flag.NewFlagSet("serve-limit", flag.ExitOnError)
	mode := flags.String("mode", "prepared", "prepared, bytes or null")
	httpAt := flags.String("http", "", "where WebSockets are served")
	control := flags.String("control", "", "where publications come in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := &limitServer{mode: *mode, channels: make(map[string]map[*websocket.Conn]struct{})}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *control)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.publications(conn)
		}
	}()
	server := &http.Server{Addr: *httpAt, Handler: s, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

func (s *limitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	ch := r.URL.Query().Get("ch")
	s.mu.Lock()
	if s.channels[ch] == nil {
		s.channels[ch] = make(map[*websocket.Conn]struct{})
	}
	s.channels[ch][conn] = struct{}{}
	s.mu.Unlock()
	for {
		if _, _, err := conn.NextReader(); err != nil {
			break
		}
	}
	s.mu.Lock()
	delete(s.channels[ch], conn)
	s.mu.Unlock()
	_ = conn.Close()
}

// publications reads what line writes.
func (s *limitServer) publications(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	var head [8]byte
	for {
		if _, err := io.ReadFull(r, head[:4]); err != nil {
			return
		}
		var joined []byte
		var to string
		for range binary.BigEndian.Uint32(head[:4]) {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			name := make([]byte, binary.BigEndian.Uint32(head[:4]))
			data := make([]byte, binary.BigEndian.Uint32(head[4:]))
			if _, err := io.ReadFull(r, name); err != nil {
				return
			}
			if _, err := io.ReadFull(r, data); err != nil {
				return
			}
			to = string(name)
			if s.mode == "null" {
				joined = appendFrame(joined, data)
				continue
			}
			s.send(to, data)
		}
		if joined != nil {
			s.write(to, joined)
		}
	}
}

// appendFrame frames text as a server does (RFC 6455, section 5.2).
func appendFrame(b, data []byte) []byte {
	if len(data) < 126 {
		b = append(b, 0x81, byte(len(data)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 126), uint16(len(data))) //nolint:gosec // short
	}
	return append(b, data...)
}

func (s *limitServer) send(to string, data []byte) {
	if s.mode != "prepared" {
		s.write(to, appendFrame(nil, data))
		return
	}
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
	if err != nil {
		fmt.Println("limit:", err) //nolint:forbidigo // a server of its own
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.channels[to] {
		_ = c.WritePreparedMessage(m)
	}
}

// write writes the same bytes to all connections of a channel.
func (s *limitServer) write(to string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.channels[to] {
		_, _ = c.NetConn().Write(b)
	}
}
