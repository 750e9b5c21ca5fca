package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// The backlog is written by one goroutine, which lives while there is one. It never writes without having looked: a token
// that ended, or a refusal, is found before each write, also when the process stood still for a while. What a client has a
// part of is always ended first, so that no frame is cut, unless the client does not take it in time.

// drainChunk is how many bytes are written at once.
const drainChunk = 64 << 10

// chunks are buffers that join small frames.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, drainChunk); return &b }}

// Finish drops what waits, except the rest of a frame of which the client has a part, and writes the last frames. A client
// that does not read has CloseTimeout for them.
func (c *Conn) Finish(last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || c.finished {
		return
	}
	c.dropWaiting()
	if err := c.put(last, nil, c.begun+len(last)); err != nil {
		return
	}
	c.finished = true
	c.until = time.Now().Add(c.sockets.cfg.CloseTimeout)
	if c.draining {
		_ = c.Conn.SetWriteDeadline(c.until)
		_ = c.SetReadDeadline(c.until.Add(c.sockets.cfg.CloseWait))
	} else { // the reader waits this long for the client's close frame, and then closes the connection
		_ = c.SetReadDeadline(time.Now().Add(c.sockets.cfg.CloseWait))
	}
	c.sockets.readers.kick(c)
}

// dropWaiting empties the backlog, but for the rest of a frame that has begun. The caller holds the lock.
func (c *Conn) dropWaiting() {
	var rest [][]byte
	for left := c.begun; left > 0 && len(c.backlog) > 0; c.backlog = c.backlog[1:] {
		p := c.backlog[0][:min(left, len(c.backlog[0]))]
		rest = append(rest, p)
		left -= len(p)
	}
	c.backlog, c.after, c.bytes = rest, nil, c.begun
	c.makeRoom()
}

// fail breaks the connection; the reader finds out and cleans up. The caller holds the lock.
func (c *Conn) fail() {
	c.broken = true
	c.backlog, c.after = nil, nil
	c.makeRoom()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	c.sockets.readers.kick(c)
}

// step is what one step of the writer has done.
type step struct {
	n     int
	after []after // what was waited for and is complete with it
	over  bool    // there is no backlog any more
	err   error
}

// drain writes the backlog until it is empty.
func (c *Conn) drain() {
	stalled := time.AfterFunc(c.sockets.cfg.WriteTimeout, c.stall)
	defer stalled.Stop()
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		var s step
		if c.raw == nil {
			s = c.writeFrame()
		} else if err := c.raw.Write(func(fd uintptr) bool { s = c.writeOn(fd, *buf); return s.n > 0 || s.over || s.err != nil }); err != nil {
			s.err = err
		}
		if s.n > 0 {
			stalled.Reset(c.sockets.cfg.WriteTimeout)
			c.call(s.after)
		}
		if s.err != nil {
			c.cut(s.err)
			return
		}
		if s.over {
			return
		}
	}
}

// writeOn writes once what comes next, without waiting.
func (c *Conn) writeOn(fd uintptr, buf []byte) step {
	c.expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.next(buf[:0])
	if p == nil {
		return step{over: true}
	}
	n, err := syscall.Write(int(fd), p)
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return step{}
	case err != nil:
		return step{err: err}
	}
	return step{n: n, after: c.took(n)}
}

// writeFrame writes one frame, where a write that has begun is not taken back.
func (c *Conn) writeFrame() step {
	c.expire()
	c.mu.Lock()
	p := c.next(nil)
	c.begun = len(p)
	c.mu.Unlock()
	if p == nil {
		return step{over: true}
	}
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	return step{n: n, after: c.took(n), err: err}
}

// expire ends a connection whose time is over meanwhile.
func (c *Conn) expire() {
	if c.Expired(time.Now().UnixMilli()) {
		c.handler.Stop(ErrExpired)
	}
}

// stall ends the connection of a client that takes nothing.
func (c *Conn) stall() { c.handler.Stop(ErrSlow) }

// next returns what is to be written next; nil when there is nothing, and the writer ends. The caller holds the lock.
func (c *Conn) next(buf []byte) []byte {
	if len(c.backlog) == 0 || c.broken {
		c.rest()
		if c.finished && !c.broken { // the client reads again, and answers
			_ = c.SetReadDeadline(time.Now().Add(c.sockets.cfg.CloseWait))
		}
		return nil
	}
	if c.raw == nil { // a write that has begun is not taken back: one frame
		p := c.backlog[0]
		return p[:min(len(p), c.frameEnd())]
	}
	if len(c.backlog[0]) >= drainChunk/2 || len(c.backlog) == 1 {
		return c.backlog[0][:min(len(c.backlog[0]), drainChunk)]
	}
	for _, p := range c.backlog {
		if len(buf)+len(p) > drainChunk {
			break
		}
		buf = append(buf, p...)
	}
	return buf
}

// frameEnd is where the first frame of the backlog ends, or the one that has begun. The caller holds the lock.
func (c *Conn) frameEnd() int {
	if c.begun > 0 {
		return c.begun
	}
	return frameLength(c.backlog[0])
}

// rest notes that nobody writes. The caller holds the lock.
func (c *Conn) rest() {
	c.draining, c.backlog = false, nil
	_ = c.Conn.SetWriteDeadline(time.Time{})
	if c.still != nil {
		close(c.still)
		c.still = nil
	}
}

// took notes that the client has taken bytes, and returns what was waited for and is complete with them. The caller holds the lock.
func (c *Conn) took(size int) []after {
	for n := size; n > 0 && len(c.backlog) > 0; {
		head := c.backlog[0]
		if n >= len(head) { // whole frames, but for what has begun
			c.begun, c.backlog = 0, c.backlog[1:]
			n -= len(head)
			continue
		}
		c.begun, c.backlog[0] = frameRest(head, c.begun, n), head[n:]
		n = 0
	}
	c.bytes = max(0, c.bytes-size)
	c.makeRoom()
	c.tellDrained()
	return c.flushed(size)
}

// cut ends a connection whose client did not take the rest in time, or has gone.
func (c *Conn) cut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tcp, ok := c.Conn.(*net.TCPConn); ok && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = tcp.SetLinger(0) // a reset says that something is missing
	}
	c.fail()
	c.rest()
}

// drainedBelow is how much of a backlog may be left when a client counts as having read it.
const drainedBelow = 64 << 10

// WhenDrained calls f once, when the backlog has been read.
func (c *Conn) WhenDrained(f func()) {
	c.mu.Lock()
	if c.draining && c.bytes > drainedBelow {
		c.drained = f
		f = nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// tellDrained says that the backlog was read, to whoever asked. The caller holds the lock.
func (c *Conn) tellDrained() {
	if c.drained != nil && c.bytes <= drainedBelow {
		c.drained()
		c.drained = nil
	}
}

// Linger closes the connection without losing the close frame that was written last: a socket
// closed with unread bytes resets the connection (RFC 6455, section 7.1.1).
func (c *Conn) Linger() {
	defer func() { _ = c.Close() }()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !c.lastWritten() || !ok {
		return
	}
	if half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, c.Conn, 1<<20)
}

// lastWritten waits until the last frames are written, or given up. It returns whether they were.
func (c *Conn) lastWritten() bool {
	c.mu.Lock()
	waits := c.draining && c.finished && !c.until.IsZero()
	if waits && c.still == nil {
		c.still = make(chan struct{})
	}
	still, ok := c.still, !c.broken && !c.draining
	c.finished = true // nothing more is accepted
	c.mu.Unlock()
	if !waits {
		return ok
	}
	<-still
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.broken
}
