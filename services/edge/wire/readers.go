package wire

import (
	"sync"
	"time"
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
	select {
	case <-r.begin:
	case <-r.stop:
		return nil
	}
	return r.poller.run(func(c *Conn) {
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
	in.r, in.w, in.left = 0, 0, 0
	c.in = in
	for {
		// Most of what comes to an idle connection is a pong. A look without waiting takes it in without gorilla, and without
		// finding out by a blocking read that there is nothing else.
		found := in.glance(c)
		if found == foundControl || found == foundNothing && r.park(c, in) {
			if found == foundNothing {
				return
			}
			continue
		}
		op, b, err := c.receive()
		if err != nil {
			c.in = nil
			c.end(err)
			return
		}
		c.hand(op, b)
	}
}

// park leaves the connection to the poller. It returns false when it has to be read now, because it is being closed.
func (r *readers) park(c *Conn, in *intake) bool {
	c.in = nil
	c.parked.Store(true)
	// Only after it is parked may the poller find it. Somebody may have closed it just before, and found nobody to kick.
	if r.poller.watch(c) == nil && !c.closed() {
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
