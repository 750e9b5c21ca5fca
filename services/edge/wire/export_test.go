package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Queue is the backlog of a connection whose client does not read unless it is told to.
type Queue struct {
	tb   testing.TB
	c    *Conn
	peer net.Conn
	sent int
	got  []byte

	// Farewell is written when the connection has expired.
	Farewell []byte

	attempt *Attempt
	writers sync.WaitGroup
}

// NewQueue returns the queue of a new connection: a pair of sockets that take little, and at once.
func NewQueue(tb testing.TB) *Queue {
	tb.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	ends := make([]*net.UnixConn, len(fds))
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		if err := errors.Join(err, file.Close()); err != nil {
			tb.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
	}
	q := &Queue{tb: tb, peer: ends[1], got: make([]byte, 64<<10), attempt: NewAttempt()}
	q.c = New(Config{
		QueueBytes: 1 << 20, WriteTimeout: 10 * time.Second, CloseTimeout: 30 * time.Second, CloseWait: 3 * time.Second, FramesPerSecond: 1000, Go: q.writers.Go,
	}).NewConn(q)
	q.c.take(ends[0])
	q.c.raw, err = ends[0].SyscallConn()
	if err := errors.Join(err, ends[0].SetWriteBuffer(4096)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ends[1].Close(); _ = ends[0].Close(); q.writers.Wait() })
	return q
}

// Fill writes until there is a backlog. What it writes is not the buffer of Drain, because the writer reads it meanwhile.
func (q *Queue) Fill() {
	p := make([]byte, 64<<10)
	for q.c.Idle() {
		q.Put(p)
	}
}

// Put writes one frame.
func (q *Queue) Put(p []byte) {
	if err := q.c.SendMessages(p, q.attempt); err != nil {
		q.tb.Fatal(err)
	}
	q.sent += len(p)
}

// AfterWritten calls f when everything that was put is written.
func (q *Queue) AfterWritten(f func()) { q.c.AfterWritten(f) }

// Drop forgets the backlog, but for what its writer is at.
func (q *Queue) Drop() {
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	for _, p := range q.c.waiting.pieces {
		q.sent -= len(p)
		q.c.waiting.bytes -= len(p)
	}
	q.c.waiting.pieces = nil
}

// Drain reads everything, and waits for the writer of the backlog to end.
func (q *Queue) Drain() {
	for q.sent > 0 {
		n, err := q.peer.Read(q.got[:min(len(q.got), q.sent)])
		if err != nil {
			q.tb.Fatal(err)
		}
		q.sent -= n
	}
	q.writers.Wait()
}

// Hangup closes the other end, and waits for the writer of the backlog to end.
func (q *Queue) Hangup() {
	_ = q.peer.Close()
	q.writers.Wait()
}

// Receive, Ping, Closing and Ended are never called: nobody reads.
func (*Queue) Receive(int, []byte) {}

// Ping is not called.
func (*Queue) Ping() bool { return false }

// Flooded is not called.
func (*Queue) Flooded() {}

// Closing is not called.
func (*Queue) Closing(int, string) (int, string) { return 0, "" }

// Stop ends the connection with the farewell, if there is one; without one it is not to be called.
func (q *Queue) Stop(why error) {
	if q.Farewell == nil || !errors.Is(why, ErrExpired) {
		q.tb.Error(why)
		return
	}
	q.c.Finish(q.Farewell)
}

// PutAll writes a frame until no more may wait, and returns how often that was.
func (q *Queue) PutAll(p []byte) (n int) {
	for q.c.SendMessages(p, q.attempt) == nil {
		n++
	}
	return n
}

// Expire says that nothing may be written any more.
func (q *Queue) Expire() { q.c.ExpireAt(time.Now()) }

// Waiting is how many frames wait.
func (q *Queue) Waiting() int {
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	return len(q.c.waiting.pieces)
}

// Count reads frames of a length until the farewell, and returns how many there were.
func (q *Queue) Count(length int) (n int) {
	p := make([]byte, length)
	for {
		if _, err := io.ReadFull(q.peer, p[:len(q.Farewell)]); err != nil {
			q.tb.Fatal(err)
		}
		if bytes.Equal(p[:len(q.Farewell)], q.Farewell) {
			return n
		}
		if _, err := io.ReadFull(q.peer, p[len(q.Farewell):]); err != nil {
			q.tb.Fatal(err)
		}
		n++
	}
}

// Ended is not called.
func (*Queue) Ended(error) {}

// SmallFragment is how many bytes a fragment carries that does not count as extra.
const SmallFragment = smallFragment

// Follow follows the frames of a client in pieces. It returns how many began that end no message, how many messages ended, and whether
// something has not.
func Follow(pieces [][]byte) (extra, ended int, unfinished bool) {
	var in incoming
	for _, p := range pieces {
		more, end := in.take(p)
		extra += int(more)
		if end {
			ended++
		}
	}
	return extra, ended, in.unfinished()
}

// FrameOf is how many bytes the frame at the beginning has, its header included; false when not all of its header has come.
func FrameOf(b []byte) (uint64, bool) {
	in := newIntake()
	in.w = copy(in.buf[:], b)
	ok := in.header()
	return in.left, ok
}

// LengthOf is how many bytes a frame of ours has.
func LengthOf(frame []byte) int { return frameLength(frame) }
