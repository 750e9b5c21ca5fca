package wire

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// Conn is one WebSocket connection over a socket. Everything that is written goes through its lock, gorilla's control frames
// too, so that nobody writes between the halves of a frame. A write never blocks. What the kernel does not take at once becomes
// the backlog. One goroutine, which lives only while there is a backlog, writes it. Except where it is said otherwise the
// methods of Conn may be used concurrently, once Upgrade has returned.
type Conn struct {
	net.Conn
	raw     syscall.RawConn // nil when the connection is not a plain socket
	ws      *websocket.Conn
	sockets *Sockets
	handler Handler
	queue   int     // how many bytes may wait; set before Upgrade
	load    *load   // what waits, where the queue is its own; set before Upgrade
	in      *intake // of the worker that reads; nil when there is none

	incoming incoming     // of whoever reads
	begun    atomic.Int64 // when the message began that is on its way, in Unix milliseconds; 0 for none
	extra    atomic.Int32 // frames of this second that ended no message and carried next to nothing

	expires atomic.Int64 // Unix milliseconds; 0 for never
	heard   atomic.Bool  // something came since Heard
	busy    atomic.Bool  // the handler has a message
	parked  atomic.Bool  // nobody reads: whoever sets it to false does

	mu       sync.Mutex
	waiting  backlog
	pong     []byte // the answer to the newest ping, while that to one before waits to be written; nil for none
	draining bool   // somebody writes it
	finished bool   // a close frame is the last thing in the backlog, or was written
	broken   bool
	drained  func()        // called once, when the backlog has been read
	room     chan struct{} // closed when the backlog has shrunk; nil when nobody waits for that
	until    time.Time     // how long the last frames may take; zero before Finish
	still    chan struct{} // closed when nobody writes any more; nil when nobody waits for that
}

// Handler is the owner of one connection. Receive, Ping, Flooded, Closing and Ended come one at a time, from whoever reads.
type Handler interface {
	// Receive takes a text (1) or binary (2) message. The data is the caller's, and changes after Receive.
	Receive(op int, data []byte)
	// Ping says whether a ping is to be answered.
	Ping() bool
	// Flooded says that the client sends too many pings, pongs and small fragments. The handler calls Finish.
	Flooded()
	// Closing returns the code and the text of the answer to a close frame. The argument code is 1005 for a frame without one.
	// An answer with code 0 has none.
	Closing(code int, text string) (int, string)
	// Stop says that nothing can be written any more: ErrSlow, ErrCrowded or ErrExpired. The handler calls Finish. It may come from
	// any goroutine that writes, also to another connection.
	Stop(why error)
	// Ended is called once, after everything else, with what ended the reading. It calls Linger.
	Ended(err error)
}

// ErrBroken says that the connection takes no more bytes.
var ErrBroken = errors.New("connection is closed")

// ErrSlow says that the client has more waiting than it may, or takes nothing.
var ErrSlow = errors.New("backlog is full")

// ErrCrowded says that more waits for all clients with a queue of their own than may, and the most for this one.
var ErrCrowded = errors.New("too much waits for all clients")

// ErrOver says that what is to be written is not wanted any more.
var ErrOver = errors.New("what it belongs to is over")

// ErrExpired says that the time until which may be written is over.
var ErrExpired = errors.New("connection has expired")

// NewConn returns the connection of a handler. It has no socket before Upgrade.
func (s *Sockets) NewConn(h Handler) *Conn {
	return &Conn{sockets: s, handler: h, queue: s.cfg.QueueBytes}
}

// Allow lets as many bytes wait for the client as its protocol needs, where that is more than otherwise. What waits for such clients
// is bounded together, too. Zero changes nothing. It is called before Upgrade.
func (c *Conn) Allow(bytes int) {
	c.queue = max(c.queue, bytes)
	if bytes > 0 {
		c.load = &load{crowd: &c.sockets.crowd, leave: c.leave}
	}
}

// Queue is how many bytes may wait for the client.
func (c *Conn) Queue() int { return c.queue }

// ExpireAt sets the time at which nothing may be written any more.
func (c *Conn) ExpireAt(t time.Time) { c.expires.Store(t.UnixMilli()) }

// Expired says whether that time has come, in Unix milliseconds.
func (c *Conn) Expired(unixMilli int64) bool {
	end := c.expires.Load()
	return end != 0 && unixMilli >= end
}

// Heard says whether something came from the client since the last call.
func (c *Conn) Heard() bool { return c.heard.Swap(false) }

// Busy says whether the handler has a message of the client.
func (c *Conn) Busy() bool { return c.busy.Load() }

// take gives the Conn its socket, before anything is written.
func (c *Conn) take(conn net.Conn) {
	c.Conn = conn
	if plain, ok := conn.(syscall.Conn); ok { // TLS is none
		c.raw, _ = plain.SyscallConn()
	}
}

// Read is what gorilla reads with.
func (c *Conn) Read(p []byte) (n int, err error) {
	if c.in != nil {
		n, err = c.in.read(c, p)
	} else {
		n, err = c.Conn.Read(p)
	}
	if flood := c.passed(p[:n]); flood != nil {
		return 0, flood
	}
	return n, err
}

// passed notes what has been read for gorilla. It returns errFlood when that was too much.
func (c *Conn) passed(p []byte) error {
	extra, ended := c.incoming.take(p)
	switch late := c.incoming.unfinished(); {
	case ended && late:
		c.begun.Store(time.Now().UnixMilli())
	case late:
		c.late()
	case c.begun.Load() != 0:
		c.begun.Store(0)
	}
	return c.counted(extra)
}

// late notes that a message has begun of which not all has come.
func (c *Conn) late() {
	if c.begun.Load() == 0 {
		c.begun.Store(time.Now().UnixMilli())
	}
}

// counted counts pings, pongs and small fragments. It returns errFlood when there are more than the client may send.
func (c *Conn) counted(n int32) error {
	if n > 0 && c.extra.Add(n) > c.sockets.cfg.FramesPerSecond {
		c.handler.Flooded()
		return errFlood
	}
	return nil
}

// Second begins another second, in which the client may send such frames.
func (c *Conn) Second() {
	if c.extra.Load() != 0 {
		c.extra.Store(0)
	}
}

// Unfinished is for how long a message has been on its way, at a time; zero while none is.
func (c *Conn) Unfinished(now time.Time) time.Duration {
	begun := c.begun.Load()
	if begun == 0 {
		return 0
	}
	return now.Sub(time.UnixMilli(begun))
}

// Close closes the socket, and has whoever parked the connection find out.
func (c *Conn) Close() error {
	c.mu.Lock()
	// Before the kick: a reader that parks in between sees it, and does not stay parked.
	c.broken = true
	c.mu.Unlock()
	err := c.Conn.Close()
	c.sockets.readers.kick(c)
	return err
}

// Closed says whether the connection is being closed or has failed.
func (c *Conn) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished || c.broken
}

// Write is what gorilla writes with. It keeps no reference to p. All that gorilla writes after the answer to the handshake is the
// close frame of a client that breaks the protocol. It ends the connection as every other close frame does.
func (c *Conn) Write(p []byte) (int, error) {
	own := append([]byte(nil), p...)
	if len(p) > 0 && p[0] == finBit|opClose {
		c.Finish(own)
		return len(p), nil
	}
	if err := c.Send(own, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline does nothing: gorilla sets one with every control frame, and a deadline left behind
// would fail the writes that never wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Send writes whole frames. p must not change afterwards. a is the caller's attempt, or nil. It returns
// ErrSlow when the client has more waiting than it may, and ErrBroken when nothing can be written any more.
func (c *Conn) Send(p []byte, a *Attempt) error { return c.send(p, a, c.queue) }

// SendMessages is Send for messages, which leave a part of the queue to answers.
func (c *Conn) SendMessages(p []byte, a *Attempt) error { return c.send(p, a, c.queue*3/4) }

func (c *Conn) send(p []byte, a *Attempt, limit int) error {
	defer c.load.relieve() // after the lock is released
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || c.finished {
		return ErrBroken
	}
	return c.put(p, a, limit)
}

// put writes frames, or lets them wait up to a limit. The caller holds the lock.
func (c *Conn) put(p []byte, a *Attempt, limit int) error {
	if !c.draining && c.raw != nil { // nothing waits, so nothing is overtaken
		if a == nil {
			a = attempts.Get().(*Attempt) //nolint:forcetypeassert // the pool has nothing else
			defer attempts.Put(a)
		}
		n, err := a.write(c.raw, p)
		if err != nil {
			c.fail()
			return ErrBroken
		}
		if n == len(p) {
			return nil
		}
		c.waiting.begun = frameRest(p, 0, n)
		p = p[n:]
	}
	// An empty backlog takes any piece, or a frame of which the kernel has a part would be cut here.
	if c.waiting.bytes+len(p) > limit && c.waiting.bytes > 0 {
		return ErrSlow
	}
	c.waiting.add(p)
	c.load.set(c.waiting.bytes)
	if !c.draining {
		c.draining = true
		c.sockets.cfg.Go(c.drain)
	}
	return nil
}

// Idle says whether nothing is waiting to be written.
func (c *Conn) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.draining
}

// pacedBacklog is up to where a paced writer fills the backlog.
const pacedBacklog = 128 << 10

// SendPaced writes like Send, but waits while the client is behind: for a replay, which goes at the
// client's own pace. It returns ErrSlow when ctx ends before. It writes nothing and returns ErrOver once over is set; nil is never.
func (c *Conn) SendPaced(ctx context.Context, p []byte, over *atomic.Bool) error {
	for {
		c.mu.Lock()
		if c.broken || c.finished {
			c.mu.Unlock()
			return ErrBroken
		}
		// Under the lock: whoever sets it and then writes that this is the end has the last word.
		if over != nil && over.Load() {
			c.mu.Unlock()
			return ErrOver
		}
		if c.Expired(time.Now().UnixMilli()) { // it may have waited for long
			c.mu.Unlock()
			c.handler.Stop(ErrExpired)
			return ErrBroken
		}
		if c.waiting.bytes <= min(pacedBacklog, c.queue/4) {
			err := c.put(p, nil, math.MaxInt) // one piece above the mark
			c.mu.Unlock()
			c.load.relieve()
			return err
		}
		// Made under the lock, so that no room that is made before the wait goes unnoticed.
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ErrSlow
		}
	}
}

// makeRoom wakes a paced writer. The caller holds the lock.
func (c *Conn) makeRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

var _ net.Conn = (*Conn)(nil)
