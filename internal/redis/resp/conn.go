// Package resp speaks the protocol of Redis on one connection, versions 2 and 3, and believes nothing twice. What the protocol
// does not allow at its place ends the connection, and so does a pause inside of a value. A reader that went on after either
// would take the rest of a message for the beginning of the next. And a payload may be written to look like one.
package resp

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"time"
)

// readBuffer takes many confirmations or small messages at once. A line has to fit.
const readBuffer = 16 << 10

// Conn is one connection. One goroutine may read while another one writes. After an error of either it is broken for good, and
// every later call says so.
type Conn struct {
	raw net.Conn

	// The reader's own.
	in  *bufio.Reader
	at  *patience
	bad error

	// The writer's own.
	out *bufio.Writer
}

// New returns a Conn over a connection. A value that has begun has to be complete within the given time, and each write has to be
// taken within it. Between values there is no limit.
func New(raw net.Conn, within time.Duration) *Conn {
	at := &patience{raw: raw, within: within}
	return &Conn{raw: raw, at: at, in: bufio.NewReaderSize(at, readBuffer), out: bufio.NewWriter(haste{raw, within})}
}

// Close ends the connection, also for those who read and write.
func (c *Conn) Close() error {
	if err := c.raw.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Waits says whether the next Read has to wait for the server.
func (c *Conn) Waits() bool { return c.in.Buffered() == 0 }

// Read returns the next value. It waits for the first byte for as long as it takes.
func (c *Conn) Read() (Value, error) {
	if c.bad != nil {
		return Value{}, c.bad
	}
	v, err := c.read()
	if err != nil {
		c.bad = err
		_ = c.raw.Close()
		return Value{}, err
	}
	return v, nil
}

func (c *Conn) read() (Value, error) {
	c.at.between()
	if _, err := c.in.Peek(1); err != nil {
		return Value{}, err
	}
	c.at.inside()
	return parse(c.in, 0)
}

// Command queues a command until Flush, which has its errors too.
func (c *Conn) Command(args ...string) {
	c.head('*', len(args))
	for _, a := range args {
		c.head('$', len(a))
		_, _ = c.out.WriteString(a)
		_, _ = c.out.WriteString("\r\n")
	}
}

func (c *Conn) head(kind byte, n int) {
	var b [24]byte
	_, _ = c.out.Write(append(strconv.AppendInt(append(b[:0], kind), int64(n), 10), '\r', '\n'))
}

// Flush sends what was queued.
func (c *Conn) Flush() error {
	if err := c.out.Flush(); err != nil {
		_ = c.raw.Close()
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// haste writes to a connection, each piece within a fixed time.
type haste struct {
	raw    net.Conn
	within time.Duration
}

func (h haste) Write(b []byte) (int, error) {
	if err := h.raw.SetWriteDeadline(time.Now().Add(h.within)); err != nil {
		return 0, err
	}
	return h.raw.Write(b)
}

// patience reads a connection: without a limit between values, and until a fixed time inside of one.
type patience struct {
	raw    net.Conn
	within time.Duration
	begun  bool
	end    time.Time // of the value that has begun; zero until something of it has to be waited for
}

func (p *patience) between() { p.begun, p.end = false, time.Time{} }

func (p *patience) inside() { p.begun = true }

// Read is called when everything that came before was used.
func (p *patience) Read(b []byte) (int, error) {
	if p.begun && p.end.IsZero() {
		p.end = time.Now().Add(p.within)
	}
	if err := p.raw.SetReadDeadline(p.end); err != nil {
		return 0, err
	}
	return p.raw.Read(b)
}
