package wire

import (
	"bytes"
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// readers read what clients send. A connection whose client is silent is parked: it has no goroutine, no stack and no
// read buffer, and waits in a poller for bytes. Then a worker takes it, does what its frames say, and parks it again.
// Where there is no poller, and for connections that are no plain socket, each connection has a goroutine; see Conn.read.
type readers struct {
	poller  *poller // nil where there is none
	jobs    chan *Conn
	begin   chan struct{} // closed when there is something to wait for
	first   sync.Once
	stop    chan struct{}
	running sync.WaitGroup
}

// workerRest is how long a worker without work stays.
const workerRest = 5 * time.Second

func newReaders() *readers {
	return &readers{poller: newPoller(), jobs: make(chan *Conn), begin: make(chan struct{}), stop: make(chan struct{})}
}

// run waits for bytes until close is called.
func (r *readers) run() error {
	// begin is closed only where there is a poller, so what follows never meets nil.
	select {
	case <-r.begin:
	case <-r.stop:
		return nil
	}
	return r.poller.run(func(c *Conn) {
		// A kick may have been first, and two readers at once would mix up the frames.
		if c.parked.CompareAndSwap(true, false) {
			r.give(c)
		}
	})
}

// close ends run and the workers, which must have no connections any more.
func (r *readers) close() {
	close(r.stop)
	if r.poller != nil {
		r.poller.close()
	}
	r.running.Wait()
}

// give hands a connection to a worker; it never waits.
func (r *readers) give(c *Conn) {
	select {
	case r.jobs <- c:
	default:
		// No worker is idle, and each may be held up by a handler, so a new one begins.
		r.running.Go(func() { r.work(c) })
	}
}

// work serves one connection after the other, for as long as there are some.
func (r *readers) work(c *Conn) {
	in := newIntake()
	rest := time.NewTimer(workerRest)
	defer rest.Stop()
	for {
		r.serve(c, in)
		rest.Reset(workerRest)
		select {
		case c = <-r.jobs:
		case <-rest.C:
			return
		case <-r.stop:
			return
		}
	}
}

// attend begins to read, on another goroutine.
func (r *readers) attend(c *Conn) {
	if c.raw == nil || r.poller == nil {
		go c.read()
		return
	}
	r.first.Do(func() { close(r.begin) })
	r.give(c)
}

// serve reads what has come and hands it on, until nothing is there and the connection is parked, or until it ends.
func (r *readers) serve(c *Conn, in *intake) {
	// A connection that has failed may have left bytes behind, which must not become this one's.
	in.r, in.w, in.left = 0, 0, 0
	c.in = in
	for {
		// Most of what comes to an idle connection is a pong. A look without waiting takes it in without gorilla, and without
		// finding out by a blocking read that there is nothing else.
		switch found, payload := in.glance(c.raw); found {
		case foundPong:
			if err := cmp.Or(c.counted(1), c.ponged("")); err != nil {
				c.finishReading(err)
				return
			}
			continue
		case foundPing:
			if err := cmp.Or(c.counted(1), c.pinged(string(payload))); err != nil {
				c.finishReading(err)
				return
			}
			continue
		case foundNothing:
			if r.park(c, in) {
				return
			}
		case foundFrame:
		}
		op, b, err := c.receive()
		if err != nil {
			c.finishReading(err)
			return
		}
		c.hand(op, b)
	}
}

// finishReading ends a connection that a worker reads.
func (c *Conn) finishReading(err error) {
	c.in = nil
	c.end(err)
}

// park leaves the connection to the poller. It returns false when it has to be read now, because it is being closed.
func (r *readers) park(c *Conn, in *intake) bool {
	// The intake goes first: once the connection is parked, another worker may give it its own.
	c.in = nil
	c.parked.Store(true)
	// Only after it is parked may the poller find it. Somebody may have closed it just before, and found nobody to kick.
	if r.poller.watch(c) == nil && !c.Closed() {
		return true
	}
	if !c.parked.CompareAndSwap(true, false) {
		return true // a worker has it already
	}
	c.in = in
	return false
}

// kick makes somebody read a parked connection: it is being closed, and nothing may come that would wake it.
func (r *readers) kick(c *Conn) {
	if c.parked.CompareAndSwap(true, false) {
		r.give(c)
	}
}

// forget takes a connection that ends from the poller, before its descriptor may be another's.
func (r *readers) forget(c *Conn) {
	if r.poller != nil && c.raw != nil {
		r.poller.forget(c)
	}
}

// buffer is a message on its way from the reader to the handler.
type buffer = bytes.Buffer

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// largeBuffer is what is not kept for the next message.
const largeBuffer = 64 << 10

func free(b *buffer) {
	if b.Cap() <= largeBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// Start begins to read, after Upgrade. From now on the Handler is called.
func (c *Conn) Start() { c.sockets.readers.attend(c) }

// receive waits for a message.
func (c *Conn) receive() (int, *buffer, error) {
	op, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	c.heard.Store(true)
	b := buffers.Get().(*buffer) //nolint:forcetypeassert // the pool has nothing else
	if _, err := b.ReadFrom(r); err != nil {
		free(b)
		return 0, nil, err
	}
	return op, b, nil
}

// hand hands a message to the handler.
func (c *Conn) hand(op int, b *buffer) {
	c.busy.Store(true)
	c.handler.Receive(op, b.Bytes())
	free(b)
	c.busy.Store(false)
}

// read waits for a message and hands it on. The goroutine is a fresh one, so that an idle connection keeps no more than a small stack.
func (c *Conn) read() {
	op, b, err := c.receive()
	if err != nil {
		c.end(err)
		return
	}
	c.busy.Store(true) // before the goroutine is: somebody may look in between
	go func() {
		c.hand(op, b)
		go c.read()
	}()
}

// end tells the handler that nothing comes any more.
func (c *Conn) end(err error) {
	if errors.Is(err, websocket.ErrReadLimit) {
		// gorilla is silent about a length whose top bit is set; a second close frame it does not send.
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseMessageTooBig, ""), time.Now().Add(time.Second))
	}
	c.sockets.readers.forget(c)
	c.handler.Ended(err)
}
