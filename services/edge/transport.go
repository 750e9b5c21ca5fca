package edge

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// transport is the connection below one WebSocket. Everything that is written goes through its lock,
// gorilla's control frames too, so that nobody writes between the halves of a frame. A write never blocks: what the
// kernel does not take at once becomes the backlog, and one goroutine, which lives only while there is a
// backlog, writes it.
type transport struct {
	net.Conn
	raw     syscall.RawConn // nil when the connection is not a plain socket
	owner   *Edge
	session *session
	in      *intake // of the worker that reads; nil when there is none

	mu        sync.Mutex
	backlog   [][]byte
	bytes     int
	draining  bool
	finished  bool // a close frame is the last thing in the backlog, or was written
	broken    bool
	drained   func()        // called once, when the backlog has been read
	queued    uint64        // bytes ever put into the backlog
	cleared   uint64        // and written from it
	unwritten []unwritten   // messages in it
	room      chan struct{} // closed when the backlog has shrunk; nil when nobody waits for that
	begun     int           // bytes at the head of the backlog that end a frame of which the client has a part
	until     time.Time     // how long the last frames may take; zero before finish
	still     chan struct{} // closed when nobody writes any more; nil when nobody waits for that
}

// errBroken says that the connection takes no more bytes.
var errBroken = errors.New("connection is closed")

// errSlow says that the backlog is full.
var errSlow = errors.New("backlog is full")

// take gives the transport its connection, before anything is written.
func (t *transport) take(conn net.Conn) {
	t.Conn = conn
	if tcp, ok := conn.(*net.TCPConn); ok {
		t.raw, _ = tcp.SyscallConn()
	}
}

// attempt is one non-blocking write. The closure is made once and used again, because a closure for each
// write would be an allocation for each subscriber.
type attempt struct {
	p   []byte
	n   int
	err error
	fn  func(fd uintptr) bool
}

func newAttempt() *attempt {
	a := &attempt{}
	a.fn = func(fd uintptr) bool {
		a.n, a.err = syscall.Write(int(fd), a.p)
		return true // never wait for the socket
	}
	return a
}

var attempts = sync.Pool{New: func() any { return newAttempt() }}

func (a *attempt) write(raw syscall.RawConn, p []byte) (int, error) {
	a.p = p
	err := raw.Write(a.fn)
	a.p = nil
	if err != nil {
		return 0, err
	}
	if a.err != nil {
		if errors.Is(a.err, syscall.EAGAIN) || errors.Is(a.err, syscall.EINTR) {
			return 0, nil
		}
		return 0, a.err
	}
	return a.n, nil
}

// Read is what gorilla reads with.
func (t *transport) Read(p []byte) (int, error) {
	if t.in != nil {
		return t.in.read(t.Conn, p)
	}
	return t.Conn.Read(p)
}

// Close closes the connection, and has a session that is parked find out.
func (t *transport) Close() error {
	t.mu.Lock()
	t.broken = true
	t.mu.Unlock()
	err := t.Conn.Close()
	t.session.kick()
	return err
}

// closed says whether the connection is being closed or has failed.
func (t *transport) closed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.finished || t.broken
}

// Write is what gorilla writes with. It keeps no reference to p.
func (t *transport) Write(p []byte) (int, error) {
	c := append([]byte(nil), p...)
	if err := t.send(c, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline does nothing: gorilla sets one with every control frame, and a deadline left behind
// would fail the writes that never wait.
func (t *transport) SetWriteDeadline(time.Time) error { return nil }

// send writes whole frames. p must not change afterwards. a is the caller's attempt, or nil. It returns
// errSlow when the client has more waiting than it may, and errBroken when nothing can be written any more.
func (t *transport) send(p []byte, a *attempt) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken || t.finished {
		return errBroken
	}
	return t.put(p, a, t.owner.cfg.QueueBytes)
}

// sendMessages is send for messages, which leave a part of the queue to answers.
func (t *transport) sendMessages(p []byte, a *attempt) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken || t.finished {
		return errBroken
	}
	return t.put(p, a, t.owner.cfg.QueueBytes*3/4)
}

func (t *transport) put(p []byte, a *attempt, limit int) error {
	if !t.draining && t.raw != nil {
		if a == nil {
			a = attempts.Get().(*attempt)
			defer attempts.Put(a)
		}
		n, err := a.write(t.raw, p)
		if err != nil {
			t.fail()
			return errBroken
		}
		if n == len(p) {
			return nil
		}
		t.begun = frameRest(p, 0, n)
		p = p[n:]
	}
	if t.bytes+len(p) > limit && t.bytes > 0 {
		return errSlow
	}
	t.backlog = append(t.backlog, p)
	t.bytes += len(p)
	t.queued += uint64(len(p))
	if !t.draining {
		t.draining = true
		t.owner.writers.Go(t.drain)
	}
	return nil
}

// idle says whether nothing is waiting to be written.
func (t *transport) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.draining
}

// pacedBacklog is up to where a paced writer fills the backlog.
const pacedBacklog = 128 << 10

// sendPaced writes like send, but waits while the client is behind: for a replay, which goes at the
// client's own pace.
func (t *transport) sendPaced(ctx context.Context, p []byte) error {
	for {
		t.mu.Lock()
		if t.broken || t.finished {
			t.mu.Unlock()
			return errBroken
		}
		if t.session.lapsed(time.Now()) {
			t.mu.Unlock()
			t.session.refuse(bus.ErrTokenExpired)
			return errBroken
		}
		if t.bytes <= min(pacedBacklog, t.owner.cfg.QueueBytes/4) {
			err := t.put(p, nil, math.MaxInt) // one piece above the mark
			t.mu.Unlock()
			return err
		}
		if t.room == nil {
			t.room = make(chan struct{})
		}
		room := t.room
		t.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return bus.ErrSlowConsumer
		}
	}
}

// makeRoom wakes a paced writer. The caller holds the lock.
func (t *transport) makeRoom() {
	if t.room != nil {
		close(t.room)
		t.room = nil
	}
}
