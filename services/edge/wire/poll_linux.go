package wire

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// poller waits for bytes on parked connections (epoll(7)). Its own descriptor waits in Go's poller, so no
// thread is blocked.
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.RWMutex // held for writing to grow
	table []atomic.Pointer[Conn]
}

// pollEvents is how many connections one look may find.
const pollEvents = 256

// newPoller returns nil when the system has none.
func newPoller() *poller {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")} // a descriptor
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil
	}
	return p
}

// run calls ready for every connection that has bytes, until close.
func (p *poller) run(ready func(*Conn)) error {
	events := make([]syscall.EpollEvent, pollEvents)
	n, failed := 0, error(nil)
	look := func(fd uintptr) bool {
		n, failed = syscall.EpollWait(int(fd), events, 0)
		return n != 0 || failed != nil && failed != syscall.EINTR //nolint:errorlint // a system call returns it bare
	}
	for {
		if p.raw.Read(look) != nil {
			return nil //nolint:nilerr // closed
		}
		if failed != nil {
			return os.NewSyscallError("epoll_wait", failed)
		}
		for _, e := range events[:n] {
			if c := p.at(int(e.Fd)); c != nil {
				ready(c)
			}
		}
	}
}

func (p *poller) close() { _ = p.file.Close() }

// at returns the connection of a descriptor. It may be one that took the descriptor over after
// the event: it finds nothing to read, and is parked again.
func (p *poller) at(fd int) *Conn {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if fd < len(p.table) {
		return p.table[fd].Load()
	}
	return nil
}

// watch waits for the next bytes of a connection.
func (p *poller) watch(c *Conn) error {
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		// One shot: while a worker reads a connection, its bytes are not reported until it is parked again.
		event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: int32(fd)} // a descriptor
		op := syscall.EPOLL_CTL_MOD
		if p.enter(int(fd), c) {
			op = syscall.EPOLL_CTL_ADD
		}
		failed = p.control(op, int(fd), &event)
	})
	if err != nil {
		return err
	}
	return failed
}

func (p *poller) control(op, fd int, event *syscall.EpollEvent) (failed error) {
	err := p.raw.Control(func(own uintptr) { failed = syscall.EpollCtl(int(own), op, fd, event) })
	if err != nil {
		return err
	}
	return failed
}

// enter puts a connection into the table, and says whether it was not there.
func (p *poller) enter(fd int, c *Conn) bool {
	p.mu.RLock()
	if fd < len(p.table) {
		defer p.mu.RUnlock()
		// A connection that was closed before it was forgotten may stand here; epoll has dropped its descriptor.
		return p.table[fd].Swap(c) != c
	}
	p.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	// Another connection may have let the table grow between the two locks.
	if fd >= len(p.table) {
		grown := make([]atomic.Pointer[Conn], max(2*len(p.table), fd+1, 1024))
		for i := range p.table {
			grown[i].Store(p.table[i].Load())
		}
		p.table = grown
	}
	return p.table[fd].Swap(c) != c
}

// forget removes a connection that ends, before its connection is closed.
func (p *poller) forget(c *Conn) {
	_ = c.raw.Control(func(fd uintptr) {
		p.mu.RLock()
		defer p.mu.RUnlock()
		if int(fd) < len(p.table) { // a descriptor
			p.table[fd].CompareAndSwap(c, nil)
		}
	})
}
