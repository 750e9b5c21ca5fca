package edge

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// The backlog is written by one goroutine, which lives while there is one. It never writes without having looked: a token
// that ended, or a refusal, is found before each write, also when the process stood still for a while. What a client has a
// part of is always ended first, so that no frame is cut, unless the client does not take it in time.

// closeWait is how long a client that reads has to answer a close frame.
const closeWait = 3 * time.Second

// drainChunk is how many bytes are written at once.
const drainChunk = 64 << 10

// chunks are buffers that join small frames.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, drainChunk); return &b }}

// finish drops what waits, except the rest of a frame of which the client has a part, and writes the last frames. A client
// that does not read has CloseTimeout for them.
func (t *transport) finish(last []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken || t.finished {
		return
	}
	t.dropWaiting()
	if err := t.put(last, nil, t.begun+len(last)); err != nil {
		return
	}
	t.finished = true
	t.until = time.Now().Add(t.owner.cfg.CloseTimeout)
	if t.draining {
		_ = t.Conn.SetWriteDeadline(t.until)
		_ = t.SetReadDeadline(t.until.Add(t.owner.closeWait))
	} else { // the reader waits this long for the client's close frame, and then closes the connection
		_ = t.SetReadDeadline(time.Now().Add(t.owner.closeWait))
	}
	t.session.kick()
}

// dropWaiting empties the backlog, but for the rest of a frame that has begun. The caller holds the lock.
func (t *transport) dropWaiting() {
	var rest [][]byte
	for left := t.begun; left > 0 && len(t.backlog) > 0; t.backlog = t.backlog[1:] {
		p := t.backlog[0][:min(left, len(t.backlog[0]))]
		rest = append(rest, p)
		left -= len(p)
	}
	t.backlog, t.unwritten, t.bytes = rest, nil, t.begun
	t.makeRoom()
}

// fail breaks the connection; the reader finds out and cleans up. The caller holds the lock.
func (t *transport) fail() {
	t.broken = true
	t.backlog, t.unwritten = nil, nil
	t.makeRoom()
	_ = t.SetReadDeadline(time.Unix(1, 0))
	t.session.kick()
}

// step is what one step of the writer has done.
type step struct {
	n     int
	notes []bus.Ack // of messages that were complete with it
	over  bool      // there is no backlog any more
	err   error
}

// drain writes the backlog until it is empty.
func (t *transport) drain() {
	stalled := time.AfterFunc(t.owner.cfg.WriteTimeout, t.stall)
	defer stalled.Stop()
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		var s step
		if t.raw == nil {
			s = t.writeFrame()
		} else if err := t.raw.Write(func(fd uintptr) bool { s = t.writeOn(fd, *buf); return s.n > 0 || s.over || s.err != nil }); err != nil {
			s.err = err
		}
		if s.n > 0 {
			stalled.Reset(t.owner.cfg.WriteTimeout)
			t.report(s.notes)
		}
		if s.err != nil {
			t.cut(s.err)
			return
		}
		if s.over {
			return
		}
	}
}

// writeOn writes once what comes next, without waiting.
func (t *transport) writeOn(fd uintptr, buf []byte) step {
	t.expire()
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.next(buf[:0])
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
	return step{n: n, notes: t.took(n)}
}

// writeFrame writes one frame, where a write that has begun is not taken back.
func (t *transport) writeFrame() step {
	t.expire()
	t.mu.Lock()
	p := t.next(nil)
	t.begun = len(p)
	t.mu.Unlock()
	if p == nil {
		return step{over: true}
	}
	n, err := t.Conn.Write(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	return step{n: n, notes: t.took(n), err: err}
}

// expire ends the session when its token has ended meanwhile.
func (t *transport) expire() {
	if t.session.lapsed(time.Now()) {
		t.session.refuse(bus.ErrTokenExpired)
	}
}

// stall ends the session of a client that takes nothing.
func (t *transport) stall() {
	t.owner.metrics.slow.Inc()
	t.session.refuse(bus.ErrSlowConsumer)
}

// next returns what is to be written next; nil when there is nothing, and the writer ends. The caller holds the lock.
func (t *transport) next(buf []byte) []byte {
	if len(t.backlog) == 0 || t.broken {
		t.rest()
		if t.finished && !t.broken { // the client reads again, and answers
			_ = t.SetReadDeadline(time.Now().Add(t.owner.closeWait))
		}
		return nil
	}
	if t.raw == nil { // a write that has begun is not taken back: one frame
		p := t.backlog[0]
		return p[:min(len(p), t.frameEnd())]
	}
	if len(t.backlog[0]) >= drainChunk/2 || len(t.backlog) == 1 {
		return t.backlog[0][:min(len(t.backlog[0]), drainChunk)]
	}
	for _, p := range t.backlog {
		if len(buf)+len(p) > drainChunk {
			break
		}
		buf = append(buf, p...)
	}
	return buf
}

// frameEnd is where the first frame of the backlog ends, or the one that has begun. The caller holds the lock.
func (t *transport) frameEnd() int {
	if t.begun > 0 {
		return t.begun
	}
	return frameLength(t.backlog[0])
}

// rest notes that nobody writes. The caller holds the lock.
func (t *transport) rest() {
	t.draining, t.backlog = false, nil
	_ = t.Conn.SetWriteDeadline(time.Time{})
	if t.still != nil {
		close(t.still)
		t.still = nil
	}
}

// took notes that the client has taken bytes, and returns the messages that were complete with them. The caller holds the lock.
func (t *transport) took(size int) []bus.Ack {
	for n := size; n > 0 && len(t.backlog) > 0; {
		head := t.backlog[0]
		if n >= len(head) { // whole frames, but for what has begun
			t.begun, t.backlog = 0, t.backlog[1:]
			n -= len(head)
			continue
		}
		t.begun, t.backlog[0] = frameRest(head, t.begun, n), head[n:]
		n = 0
	}
	t.bytes = max(0, t.bytes-size)
	t.makeRoom()
	t.tellDrained()
	return t.flushed(size)
}

// cut ends a connection whose client did not take the rest in time, or has gone.
func (t *transport) cut(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tcp, ok := t.Conn.(*net.TCPConn); ok && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = tcp.SetLinger(0) // a reset says that something is missing
	}
	t.fail()
	t.rest()
}

// settle waits until the last frames are written, or given up. It returns whether they were.
func (t *transport) settle() bool {
	t.mu.Lock()
	waits := t.draining && t.finished && !t.until.IsZero()
	if waits && t.still == nil {
		t.still = make(chan struct{})
	}
	still, ok := t.still, !t.broken && !t.draining
	t.finished = true // nothing more is accepted
	t.mu.Unlock()
	if !waits {
		return ok
	}
	<-still
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.broken
}
