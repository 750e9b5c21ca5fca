package wire

import (
	"errors"
	"sync"
	"syscall"
)

// Attempt is one write that does not wait, made again and again by one goroutine at a time. The closure is made once and used
// again, because a closure for each write would be an allocation for each subscriber.
type Attempt struct {
	p   []byte
	n   int
	err error
	fn  func(fd uintptr) bool
}

// NewAttempt returns an attempt.
func NewAttempt() *Attempt {
	a := &Attempt{}
	a.fn = func(fd uintptr) bool {
		a.n, a.err = syscall.Write(int(fd), a.p)
		return true // never wait for the socket
	}
	return a
}

// attempts are for writers that have none of their own.
var attempts = sync.Pool{New: func() any { return NewAttempt() }}

func (a *Attempt) write(raw syscall.RawConn, p []byte) (int, error) {
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
