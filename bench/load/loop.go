package load

import (
	"fmt"
	"sync/atomic"
	"syscall"
)

// loop serves a share of the clients.
type loop struct {
	crowd   *Crowd
	poll    int
	quota   int // clients that may be connecting
	pending int
	waiting []*Conn
	byFD    map[int32]*Conn
	onFrame func(c *Conn, frame []byte) error
	quit    atomic.Bool
	from    *atomic.Int64

	now        int64 // when the bytes at hand came
	delivered  int64 // since the last report
	bytes      int64 // after the handshakes
	pings      int64
	ages       Hist
	handshakes Hist
}

func (l *loop) run() {
	events := make([]syscall.EpollEvent, 512)
	buf := make([]byte, 256<<10)
	l.connect()
	for !l.quit.Load() {
		n, err := syscall.EpollWait(l.poll, events, 50)
		if err != nil && err != syscall.EINTR { //nolint:errorlint // a bare errno
			return
		}
		for _, e := range events[:max(n, 0)] {
			c := l.byFD[e.Fd]
			if c == nil || c.state == dead {
				continue
			}
			if err := l.serve(c, e.Events, buf); err != nil {
				l.drop(c, err)
			}
		}
		if l.delivered > 0 {
			l.crowd.total.Add(l.delivered)
			l.delivered = 0
			l.crowd.nudge()
		} else if l.onFrame != nil && n > 0 {
			l.crowd.nudge() // an answer may be waited for
		}
		l.connect()
	}
}

func (l *loop) serve(c *Conn, events uint32, buf []byte) error {
	if events&syscall.EPOLLOUT != 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) == 0 {
		return nil
	}
	n, err := syscall.Read(c.fd, buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR: //nolint:errorlint // a bare errno
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errClosed
	}
	l.now = Now()
	if c.state == ready {
		l.bytes += int64(n)
	}
	return c.feed(buf[:n])
}

func (l *loop) drop(c *Conn, err error) {
	if c.state < ready {
		l.pending--
	}
	_ = syscall.EpollCtl(l.poll, syscall.EPOLL_CTL_DEL, c.fd, nil)
	l.crowd.fail(c, err)
}

// connect begins as many connections as may be under way.
func (l *loop) connect() {
	for l.pending < l.quota && len(l.waiting) > 0 {
		c := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.pending++
		if err := l.dial(c); err != nil {
			l.drop(c, err)
		}
	}
}

func (l *loop) dial(c *Conn) error {
	c.started = Now()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd = fd
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err := syscall.Connect(fd, c.addr); err != nil && err != syscall.EINPROGRESS { //nolint:errorlint // a bare errno
		return fmt.Errorf("connect: %w", err)
	}
	l.byFD[int32(fd)] = c                                                                                                                    //nolint:gosec // descriptors are small
	if err := syscall.EpollCtl(l.poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}); err != nil { //nolint:gosec // see above
		return fmt.Errorf("epoll: %w", err)
	}
	return c.Send(c.script.Request)
}

// arm sets what the loop is told about a client.
func (l *loop) arm(c *Conn, events uint32) {
	_ = syscall.EpollCtl(l.poll, syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: events, Fd: int32(c.fd)}) //nolint:gosec // descriptors are small
}

// opened is called when a client's script is through.
func (l *loop) opened(c *Conn) {
	l.pending--
	l.handshakes.Add(Now() - c.started)
	l.crowd.ready.Add(1)
	l.crowd.nudge()
}
