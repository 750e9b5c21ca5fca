package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// Step sends bytes and waits until everything expected is in what came since the connection's handshake.
type Step struct {
	Send   []byte // whole frames, masked: see Frame
	Expect []string
}

// Script is how a client opens its connection: TCP, an HTTP upgrade, steps.
type Script struct {
	Addr    string // host:port of this client's server, IPv4; the crowd's when empty
	Request []byte
	Steps   []Step
	Refused string // what shows that the server refuses, within the answers; "" for nothing
}

// Frame is a client's frame (RFC 6455, section 5.2), with a mask of zeros.
func Frame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode, 0x80}
	switch n := len(payload); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n)) //nolint:gosec // short
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// Upgrade is a handshake for a path of a server.
func Upgrade(host, path, protocol string, header ...string) []byte {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", path, host)
	if protocol != "" {
		b = fmt.Appendf(b, "Sec-WebSocket-Protocol: %s\r\n", protocol)
	}
	for _, h := range header {
		b = append(append(b, h...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// state of a connection.
const (
	upgrading = iota
	stepping
	ready
	dead
)

// Conn is one client. Only its loop touches it until the crowd is stopped.
type Conn struct {
	ID      int
	fd      int
	state   int
	step    int
	script  Script
	addr    *syscall.SockaddrInet4
	started int64
	acc     []byte // what came, while that is of interest
	out     []byte // what the socket did not take yet

	header  [14]byte
	headers int
	control []byte
	left    uint64 // bytes left of the frame
	opcode  byte

	scanner scanner
	tracks  []track
	loop    *loop
}

var errEnded = errors.New("the server ended the connection")

// Send writes bytes; what the socket does not take goes later. For OnFrame.
func (c *Conn) Send(b []byte) error {
	if len(c.out) == 0 {
		n, err := syscall.Write(c.fd, b)
		if err == syscall.EAGAIN || err == syscall.ENOTCONN { //nolint:errorlint // a bare errno
			n, err = 0, nil
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if n == len(b) {
			return nil
		}
		b = b[n:]
		c.loop.arm(c, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
	c.out = append(c.out, b...)
	return nil
}

func (c *Conn) flush() error {
	b := c.out
	c.out = nil
	if err := c.Send(b); err != nil {
		return err
	}
	if len(c.out) == 0 {
		c.loop.arm(c, syscall.EPOLLIN)
	}
	return nil
}

// feed takes bytes of the socket.
func (c *Conn) feed(b []byte) error {
	if c.state == upgrading {
		c.acc = append(c.acc, b...)
		i := bytes.Index(c.acc, []byte("\r\n\r\n"))
		if i < 0 {
			return nil
		}
		if !bytes.HasPrefix(c.acc, []byte("HTTP/1.1 101")) {
			return fmt.Errorf("the handshake is answered with %.200q", c.acc)
		}
		b = bytes.Clone(c.acc[i+4:])
		c.acc, c.state = c.acc[:0], stepping
		if err := c.next(); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		if c.left > 0 {
			n := min(c.left, uint64(len(b)))
			if err := c.payload(b[:n]); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		n := copy(c.header[c.headers:c.need()], b)
		c.headers += n
		b = b[n:]
		if c.headers < c.need() {
			continue
		}
		c.begin()
		if c.left == 0 {
			if err := c.payload(nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// need is how long the header is, as far as it is known.
func (c *Conn) need() int {
	if c.headers < 2 {
		return 2
	}
	switch c.header[1] {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

func (c *Conn) begin() {
	c.opcode = c.header[0] & 15
	switch c.headers {
	case 2:
		c.left = uint64(c.header[1])
	case 4:
		c.left = uint64(binary.BigEndian.Uint16(c.header[2:]))
	default:
		c.left = binary.BigEndian.Uint64(c.header[2:])
	}
	c.headers = 0
}

// payload takes the next piece of the frame's payload.
func (c *Conn) payload(b []byte) error {
	c.left -= uint64(len(b))
	switch c.opcode {
	case 8:
		c.control = append(c.control, b...)
		if c.left > 0 {
			return nil
		}
		return fmt.Errorf("%w: %q", errEnded, c.control)
	case 9:
		c.control = append(c.control, b...)
		if c.left > 0 {
			return nil
		}
		c.loop.pings++
		pong := Frame(10, c.control)
		c.control = nil
		return c.Send(pong)
	case 10:
		return nil
	}
	c.scanner.scan(b, c.found)
	whole := c.loop.onFrame != nil && c.state == ready
	if c.state == stepping || whole {
		c.acc = append(c.acc, b...)
	}
	if c.left > 0 {
		return nil
	}
	if whole {
		err := c.loop.onFrame(c, c.acc)
		c.acc = c.acc[:0]
		return err
	}
	return c.check()
}

func (c *Conn) found(r record) {
	l := c.loop
	l.delivered++
	if r.due >= l.from.Load() {
		l.ages.Add(l.now - r.due)
	}
	for i := range c.tracks {
		if c.tracks[i].stream == r.stream {
			c.tracks[i].take(r.seq)
			return
		}
	}
	c.tracks = append(c.tracks, track{stream: r.stream})
	c.tracks[len(c.tracks)-1].take(r.seq)
}

// check goes on with the script when what is expected has come.
func (c *Conn) check() error {
	if c.state != stepping {
		return nil
	}
	for _, want := range c.script.Steps[c.step].Expect {
		if !bytes.Contains(c.acc, []byte(want)) {
			if c.script.Refused != "" && bytes.Contains(c.acc, []byte(c.script.Refused)) {
				return fmt.Errorf("the server refuses: %.300q", c.acc)
			}
			return nil
		}
	}
	c.step++
	return c.next()
}

// next sends the next step, and those after it that expect nothing.
func (c *Conn) next() error {
	for c.step < len(c.script.Steps) {
		s := c.script.Steps[c.step]
		if len(s.Send) > 0 {
			if err := c.Send(s.Send); err != nil {
				return err
			}
		}
		if len(s.Expect) > 0 {
			return nil
		}
		c.step++
	}
	c.state, c.acc, c.script = ready, nil, Script{}
	c.loop.opened(c)
	return nil
}
