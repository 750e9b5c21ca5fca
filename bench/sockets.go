package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
)

// socket is one subscriber. It reads frames off an epoll loop, so that the load costs little beside the server.
type socket struct {
	conn   *net.TCPConn
	fd     int
	header []byte // the part of a header that has come
	skip   int    // bytes left of the frame
	frames atomic.Int64
}

// crowd is many subscribers and the loops that read them.
type crowd struct {
	sockets []*socket
	polls   []int
	byFD    []map[int32]*socket
	total   atomic.Int64
	broken  atomic.Int64
	readers sync.WaitGroup
	wake    chan struct{} // something was delivered
}

// tokens issues n tokens, each with its own client id client-N.
func (s *system) issue(ctx context.Context, n int) ([]string, error) {
	list := make([]string, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range list {
		g.Go(func() error {
			resp, err := s.auth.IssueToken(ctx, &authv1.IssueTokenRequest{
				Client: fmt.Sprintf("client-%d", i),
				Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE}}},
			})
			list[i] = resp.GetToken()
			return err
		})
	}
	return list, g.Wait()
}

// join connects one subscriber: handshake, connect with a subscription, answer.
func (s *system) join(ctx context.Context, token, channel string) (*socket, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.http)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	_, err = fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: trunkline.v1.json\r\n\r\n", s.http)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 4096)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake: %s", resp.Status)
	}
	subs := ""
	if channel != "" {
		subs = fmt.Sprintf(`,"subscriptions":[{"address":%q}]`, channel)
	}
	if err := writeFrame(conn, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q%s}}`, token, subs)); err != nil {
		return nil, err
	}
	answer, err := readFrame(r)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(answer, []byte(`"connected"`)) || channel != "" && !bytes.Contains(answer, []byte(`"subscribed"`)) {
		return nil, fmt.Errorf("connect was answered with %s", answer)
	}
	sock := &socket{conn: tcp}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return sock, raw.Control(func(fd uintptr) { sock.fd = int(fd) })
}

// writeFrame sends a masked text frame (RFC 6455, section 5.2) with a mask of zeros.
func writeFrame(conn net.Conn, payload []byte) error {
	b := []byte{0x81, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(len(payload))) //nolint:gosec // short
	_, err := conn.Write(append(b, payload...))
	return err
}

func readFrame(r *bufio.Reader) ([]byte, error) {
	h := make([]byte, 2)
	if _, err := readFull(r, h); err != nil {
		return nil, err
	}
	n := int(h[1])
	if n == 126 {
		if _, err := readFull(r, h); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(h))
	}
	b := make([]byte, n)
	_, err := readFull(r, b)
	return b, err
}

func readFull(r *bufio.Reader, b []byte) (int, error) {
	for n := 0; n < len(b); {
		m, err := r.Read(b[n:])
		if err != nil {
			return n, err
		}
		n += m
	}
	return len(b), nil
}

// gather connects n subscribers, so many at a time, and starts reading them.
func (s *system) gather(ctx context.Context, tokens []string, channel string, limit int) (*crowd, error) {
	c := &crowd{sockets: make([]*socket, len(tokens)), wake: make(chan struct{}, 1)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for i, t := range tokens {
		g.Go(func() error {
			sock, err := s.join(gctx, t, channel)
			c.sockets[i] = sock
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return c, nil
}

// read starts loops that count frames.
func (c *crowd) read() error {
	const loops = 2
	for i := range loops {
		poll, err := syscall.EpollCreate1(0)
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		byFD := make(map[int32]*socket)
		for j := i; j < len(c.sockets); j += loops {
			s := c.sockets[j]
			byFD[int32(s.fd)] = s                                                                                                                      //nolint:gosec // descriptors are small
			if err := syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(s.fd)}); err != nil { //nolint:gosec // see above
				return fmt.Errorf("epoll: %w", err)
			}
		}
		c.polls = append(c.polls, poll)
		c.readers.Go(func() { c.loop(poll, byFD) })
	}
	return nil
}

func (c *crowd) loop(poll int, byFD map[int32]*socket) {
	events := make([]syscall.EpollEvent, 256)
	buf := make([]byte, 256<<10)
	for {
		n, err := syscall.EpollWait(poll, events, 100)
		if err != nil && err != syscall.EINTR { //nolint:errorlint // a bare errno
			return // closed
		}
		for _, e := range events[:max(n, 0)] {
			s := byFD[e.Fd]
			m, err := syscall.Read(s.fd, buf)
			if m <= 0 {
				if err != syscall.EAGAIN && err != syscall.EINTR { //nolint:errorlint // a bare errno
					c.broken.Add(1)
					_ = syscall.EpollCtl(poll, syscall.EPOLL_CTL_DEL, s.fd, nil)
				}
				continue
			}
			if frames := s.count(buf[:m]); frames > 0 {
				s.frames.Add(frames)
				c.total.Add(frames)
			}
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// count returns how many data frames began in b.
func (s *socket) count(b []byte) int64 {
	frames := int64(0)
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			s.skip -= n
			b = b[n:]
			continue
		}
		s.header = append(s.header, b[0])
		b = b[1:]
		if len(s.header) < 2 {
			continue
		}
		need := 2
		switch s.header[1] {
		case 126:
			need = 4
		case 127:
			need = 10
		}
		if len(s.header) < need {
			continue
		}
		switch need {
		case 2:
			s.skip = int(s.header[1])
		case 4:
			s.skip = int(binary.BigEndian.Uint16(s.header[2:]))
		default:
			s.skip = int(binary.BigEndian.Uint64(s.header[2:])) //nolint:gosec // from our own server
		}
		if s.header[0]&0x0f < 8 {
			frames++
		}
		s.header = s.header[:0]
	}
	return frames
}

func (c *crowd) close() {
	for _, p := range c.polls {
		_ = syscall.Close(p)
	}
	for _, s := range c.sockets {
		if s != nil {
			_ = s.conn.Close()
		}
	}
	c.readers.Wait()
}

// payload is 128 bytes of JSON.
var payload = []byte(`{"text":"` + strings.Repeat("x", 117) + `"}`)
