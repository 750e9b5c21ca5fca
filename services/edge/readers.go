package edge

import (
	"sync"
	"time"
)

// readers read what clients send. A connection whose client is silent is parked: it has no goroutine, no stack and no
// read buffer, and waits in a poller for bytes. Then a worker takes it, does what its frames say, and parks it again.
// Where there is no poller, and for connections that are no plain socket, each session has a goroutine; see session.read.
type readers struct {
	poller  *poller // nil where there is none
	jobs    chan *session
	begin   chan struct{} // closed when there is something to wait for
	first   sync.Once
	stop    chan struct{}
	running sync.WaitGroup
}

// workerRest is how long a worker without work stays.
const workerRest = 5 * time.Second

func newReaders() *readers {
	return &readers{poller: newPoller(), jobs: make(chan *session), begin: make(chan struct{}), stop: make(chan struct{})}
}

// run waits for bytes until close is called.
func (r *readers) run() error {
	select {
	case <-r.begin:
	case <-r.stop:
		return nil
	}
	return r.poller.run(func(s *session) {
		if s.parked.CompareAndSwap(true, false) {
			r.give(s)
		}
	})
}

// close ends run and the workers, which must have no sessions any more.
func (r *readers) close() {
	close(r.stop)
	if r.poller != nil {
		r.poller.close()
	}
	r.running.Wait()
}

// give hands a session to a worker; it never waits.
func (r *readers) give(s *session) {
	select {
	case r.jobs <- s:
	default:
		r.running.Go(func() { r.work(s) })
	}
}

func (r *readers) work(s *session) {
	in := newIntake()
	rest := time.NewTimer(workerRest)
	defer rest.Stop()
	for {
		s.serve(in)
		rest.Reset(workerRest)
		select {
		case s = <-r.jobs:
		case <-rest.C:
			return
		case <-r.stop:
			return
		}
	}
}

// attend begins to read, on a goroutine of somebody else.
func (s *session) attend() {
	if s.raw == nil || s.owner.readers.poller == nil {
		go s.read()
		return
	}
	s.owner.readers.first.Do(func() { close(s.owner.readers.begin) })
	s.owner.readers.give(s)
}

// serve reads what has come and does it, until nothing is there and the session is parked, or until it ends.
func (s *session) serve(in *intake) {
	in.r, in.w, in.left = 0, 0, 0
	s.in = in
	for {
		found := in.glance(s)
		if found == foundControl || found == foundNothing && s.park(in) {
			if found == foundNothing {
				return
			}
			continue
		}
		op, b, err := s.receive()
		if err != nil {
			s.in = nil
			s.end(err)
			return
		}
		if b != nil {
			s.busy.Store(true)
			s.handle(op, b)
			s.busy.Store(false)
		}
	}
}

// park leaves the session to the poller. It returns false when the session has to be read now, because its connection is
// being closed.
func (s *session) park(in *intake) bool {
	s.in = nil
	s.parked.Store(true)
	if s.owner.readers.poller.watch(s) == nil && !s.closed() {
		return true
	}
	if !s.parked.CompareAndSwap(true, false) {
		return true // a worker has it already
	}
	s.in = in
	return false
}

// kick makes somebody read a parked session: it is being closed, and nothing may come that would wake it.
func (s *session) kick() {
	if s.parked.CompareAndSwap(true, false) {
		s.owner.readers.give(s)
	}
}

// receive waits for a message; no bytes for one that comes after the session was refused.
func (s *session) receive() (int, *buffer, error) {
	op, r, err := s.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	s.heard.Store(true)
	b := buffers.Get().(*buffer)
	if _, err := b.ReadFrom(r); err != nil {
		free(b)
		return 0, nil, err
	}
	if s.refused.Load() != nil {
		free(b)
		return 0, nil, nil // wait for the client's close
	}
	return op, b, nil
}

// read waits for a message and hands it on. The goroutine is a fresh one, so that an idle connection keeps no more than a small stack.
func (s *session) read() {
	for {
		op, b, err := s.receive()
		if err != nil {
			s.end(err)
			return
		}
		if b == nil {
			continue
		}
		s.busy.Store(true)
		go func() {
			s.handle(op, b)
			s.busy.Store(false)
			go s.read()
		}()
		return
	}
}
