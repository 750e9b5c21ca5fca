package wire

import (
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"syscall"
	"time"
)

// The backlog is written by one goroutine, which lives while there is one. It never writes without having looked. A token that
// ended, or a refusal, is found before each write, also when the process stood still for a while. What a client has a part of
// is always ended first, so that no frame is cut. The exception is a client that does not take it in time.

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
	// Nothing follows a refusal, so what waits would only delay the close frame.
	if !c.fresh() || c.Expired(time.Now().UnixMilli()) {
		c.waiting.drop()
		c.load.set(c.waiting.bytes)
	}
	c.pong = nil
	c.makeRoom()
	// The limit is exactly what is left, so the last frames fit, however full the queue was.
	if err := c.put(last, nil, c.waiting.bytes+len(last)); err != nil {
		return
	}
	c.finished = true
	c.until = time.Now().Add(c.sockets.cfg.CloseTimeout)
	if c.draining {
		// On the socket itself, because SetWriteDeadline of Conn does nothing. It also ends a write that waits.
		_ = c.Conn.SetWriteDeadline(c.until)
		_ = c.SetReadDeadline(c.until.Add(c.sockets.cfg.CloseWait))
	} else { // the reader waits this long for the client's close frame, and then closes the connection
		_ = c.SetReadDeadline(time.Now().Add(c.sockets.cfg.CloseWait))
	}
	c.sockets.readers.kick(c)
}

// socketBuffer is about what the kernel takes of a plain socket before there is a backlog.
const socketBuffer = 64 << 10

// fresh says whether what waits would be in the kernel already, had the connection a descriptor. Without one even the first bytes
// go by the backlog, so a little of it says nothing of the client. The caller holds the lock.
func (c *Conn) fresh() bool { return c.raw == nil && c.waiting.bytes <= socketBuffer }

// fail breaks the connection; the reader finds out and cleans up. The caller holds the lock.
func (c *Conn) fail() {
	c.broken = true
	c.waiting.clear()
	c.load.set(c.waiting.bytes)
	c.makeRoom()
	// A deadline in the past ends a read that is under way. A parked connection has none, and is kicked.
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
	buf := chunks.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer chunks.Put(buf)
	for {
		var s step
		// While writeOn has written nothing, the runtime waits for room in the socket and calls it again.
		// Each call looks at the clock anew, because the wait may have outlasted the token.
		if c.raw == nil {
			s = c.writeFrame()
		} else if err := c.raw.Write(func(fd uintptr) bool { s = c.writeOn(fd, *buf); return s.n > 0 || s.over || s.err != nil }); err != nil {
			s.err = err
		}
		if s.n > 0 {
			// Any byte counts: a client that reads slowly is served for as long as it takes something.
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
	// Before the lock, because the handler answers with Finish, which takes it.
	c.expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over() {
		return step{over: true}
	}
	// The lock stays held: this write does not wait, and Finish must not drop bytes that the kernel has taken.
	n, err := syscall.Write(int(fd), c.waiting.chunk(buf[:0]))
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
	if c.over() {
		c.mu.Unlock()
		return step{over: true}
	}
	// The frame counts as begun before the lock is released, so Finish keeps it during the write.
	p := c.waiting.frame()
	c.mu.Unlock()
	n, err := c.Conn.Write(p) // without the lock: this one waits
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

// over ends the writer when there is nothing more to write, and says whether that is so. The caller holds the lock.
func (c *Conn) over() bool {
	if len(c.waiting.pieces) > 0 && !c.broken {
		return false
	}
	c.rest()
	if c.finished && !c.broken { // the client reads again, and answers
		_ = c.SetReadDeadline(time.Now().Add(c.sockets.cfg.CloseWait))
	}
	return true
}

// rest notes that nobody writes. The caller holds the lock.
func (c *Conn) rest() {
	c.draining, c.waiting.pieces = false, nil
	// A deadline left behind would fail later writes, which do not wait at all.
	_ = c.Conn.SetWriteDeadline(time.Time{})
	if c.still != nil {
		close(c.still)
		c.still = nil
	}
}

// took notes that the client has taken bytes, and returns what was waited for and is complete with them. The caller holds the lock.
func (c *Conn) took(size int) []after {
	done := c.waiting.took(size)
	if c.pong != nil && !c.waiting.ponging() {
		c.waiting.hurry(c.pong)
		c.pong = nil
	}
	c.load.set(c.waiting.bytes)
	c.makeRoom()
	c.tellDrained()
	return done
}

// answer writes the answer to a ping, before what waits: a client that reads slowly is alive all the same. At most one answer
// waits, and behind it the one to the newest ping (RFC 6455, section 5.5.3). So a client that does not read cannot fill its queue
// with them.
func (c *Conn) answer(pong []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken || c.finished:
	case !c.draining:
		_ = c.put(pong, nil, math.MaxInt) // a connection that has failed is found by its reader
	case c.fresh():
		c.waiting.add(pong)
	case c.waiting.ponging():
		c.pong = pong
	default:
		c.waiting.hurry(pong)
	}
	c.load.set(c.waiting.bytes)
}

// cut ends a connection whose client did not take the rest in time, or has gone.
func (c *Conn) cut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tcp, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = tcp.SetLinger(0) // a reset says that something is missing
	}
	c.fail()
	c.rest()
}

// leave sends a client away for which more waits than for the others. One that was told before, and does not even take the rest of
// a frame that has begun, is reset. A reset says that something is missing.
func (c *Conn) leave(again bool) {
	if !again {
		c.handler.Stop(ErrCrowded)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if tcp, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	c.fail()
	_ = c.Conn.SetWriteDeadline(time.Unix(1, 0)) // ends a write that waits
}

// drainedBelow is how much of a backlog may be left when a client counts as having read it.
const drainedBelow = 64 << 10

// WhenDrained calls f once, when the backlog has been read.
func (c *Conn) WhenDrained(f func()) {
	c.mu.Lock()
	if c.draining && c.waiting.bytes > drainedBelow {
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
	if c.drained != nil && c.waiting.bytes <= drainedBelow {
		c.drained()
		c.drained = nil
	}
}

// Linger closes the connection without losing the close frame that was written last. A socket that is closed with unread bytes
// resets the connection (RFC 6455, section 7.1.1).
func (c *Conn) Linger() {
	defer func() { _ = c.Close() }()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !c.lastWritten() || !ok {
		return
	}
	if half.CloseWrite() != nil {
		return
	}
	// What the client still sends is read away, for a while and up to a bound, so that it causes no reset.
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

// A message that asks for an ack counts as delivered when the kernel has taken the last byte of its frame. The client must not
// have gone by then. What is still in the backlog counts later, or never when the connection ends before; so a delivery that
// nobody saw uses up nothing. An edge that dies between the write and the note delivers once more.

// AfterWritten calls f as soon as the frames that were sent before it are written. It never calls f when the connection ends
// before, or the client has gone.
func (c *Conn) AfterWritten(f func()) {
	c.mu.Lock()
	ended := c.broken || c.finished
	waits := c.draining && !ended
	if waits { // as many at most as the backlog has frames, which has a bound
		c.waiting.after = append(c.waiting.after, after{c.waiting.queued, f})
	}
	c.mu.Unlock()
	if !waits && !ended {
		c.call([]after{{call: f}})
	}
}

// call calls what waited, unless the client has hung up: what it had not read then, it will not read.
func (c *Conn) call(done []after) {
	if len(done) == 0 || hungUp(c.raw) {
		return
	}
	for _, a := range done {
		a.call()
	}
}
