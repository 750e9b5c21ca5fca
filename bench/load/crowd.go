package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a crowd.
type Options struct {
	Addr   string             // host:port of the server, IPv4
	Script func(i int) Script // how client i connects
	N      int                // clients
	AtOnce int                // how many connect at a time; 128 when 0
	Loops  int                // 2 when 0
	// OnFrame gets each whole data frame of a client that is ready, on its loop. It keeps nothing of it.
	OnFrame func(c *Conn, frame []byte) error
	// Before is a stopped crowd; the clients go on with what they had received there.
	Before *Crowd
}

// Crowd is many clients. Its methods are for one goroutine.
type Crowd struct {
	conns []*Conn
	loops []*loop
	wg    sync.WaitGroup
	wake  chan struct{}
	total atomic.Int64
	ready atomic.Int64
	bad   atomic.Int64
	from  atomic.Int64
	fault atomic.Pointer[error]
	stop  sync.Once
}

// Open connects all clients and returns when their scripts are through.
func Open(ctx context.Context, o Options) (*Crowd, error) {
	var err error
	if o.AtOnce == 0 {
		o.AtOnce = 128
	}
	if o.Loops == 0 {
		o.Loops = 2
	}
	c := &Crowd{wake: make(chan struct{}, 1), conns: make([]*Conn, o.N)}
	for i := range c.conns {
		c.conns[i] = &Conn{ID: i, fd: -1, script: o.Script(i)}
		if c.conns[i].addr, err = sockaddr(cmp.Or(c.conns[i].script.Addr, o.Addr)); err != nil {
			return nil, err
		}
		if o.Before != nil {
			c.conns[i].tracks = o.Before.conns[i].tracks
		}
	}
	for i := range o.Loops {
		l := &loop{crowd: c, quota: max(1, o.AtOnce/o.Loops), onFrame: o.OnFrame, from: &c.from, byFD: make(map[int32]*Conn)}
		for j := i; j < o.N; j += o.Loops {
			l.waiting = append(l.waiting, c.conns[j])
			c.conns[j].loop = l
		}
		if l.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
		c.loops = append(c.loops, l)
	}
	for _, l := range c.loops {
		c.wg.Go(l.run)
	}
	err = c.Wait(ctx, 20*time.Second, func() bool { return c.ready.Load() == int64(o.N) })
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("%d of %d clients are connected: %w", c.ready.Load(), o.N, err)
	}
	return c, nil
}

// sockaddr reads host:port.
func sockaddr(addr string) (*syscall.SockaddrInet4, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	return &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}, nil
}

// Wait returns when done is true, which is asked when something came, or an error when nothing came for so long or a
// connection failed.
func (c *Crowd) Wait(ctx context.Context, idle time.Duration, done func() bool) error {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for !done() {
		if err := c.fault.Load(); err != nil {
			return *err
		}
		select {
		case <-c.wake:
			timer.Reset(idle)
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("nothing came for %s", idle)
		}
	}
	return nil
}

// Total is how many records came to all clients.
func (c *Crowd) Total() int64 { return c.total.Load() }

// MeasureFrom takes the ages of messages that are due from this moment on only.
func (c *Crowd) MeasureFrom(at int64) { c.from.Store(at) }

// Traffic is how many bytes came to clients that were connected, and how many pings. After Stop.
func (c *Crowd) Traffic() (bytes, pings int64) {
	for _, l := range c.loops {
		bytes += l.bytes
		pings += l.pings
	}
	return bytes, pings
}

// Stop ends all connections and the loops.
func (c *Crowd) Stop() {
	c.stop.Do(func() {
		for _, l := range c.loops {
			l.quit.Store(true)
		}
		c.wg.Wait()
		for _, conn := range c.conns {
			if conn.fd >= 0 {
				_ = syscall.SetsockoptLinger(conn.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
				_ = syscall.Close(conn.fd)
				conn.fd = -1
			}
		}
		for _, l := range c.loops {
			_ = syscall.Close(l.poll)
		}
	})
}

// Ages are the ages of the messages when they came. After Stop.
func (c *Crowd) Ages() *Hist {
	h := &Hist{}
	for _, l := range c.loops {
		h.Merge(&l.ages)
	}
	return h
}

// Handshakes are the times from the first SYN to the last answer of the script. After Stop.
func (c *Crowd) Handshakes() *Hist {
	h := &Hist{}
	for _, l := range c.loops {
		h.Merge(&l.handshakes)
	}
	return h
}

// Tally compares what client i has of a stream with what was sent to it. After Stop.
func (c *Crowd) Tally(sent func(i int) map[uint32]uint64) Tally {
	t := Tally{Broken: c.bad.Load()}
	for i, conn := range c.conns {
		want := sent(i)
		for _, tr := range conn.tracks {
			t.Dup += tr.dup
			t.Disorder += tr.disorder
			t.Lost += uint64(len(tr.missing))
			if n := want[tr.stream]; n > tr.next {
				t.Lost += n - tr.next
			}
			delete(want, tr.stream)
		}
		for _, n := range want {
			t.Lost += n
		}
	}
	return t
}

// Fault is the first failure of a connection, nil without one.
func (c *Crowd) Fault() error {
	if err := c.fault.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *Crowd) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Crowd) fail(conn *Conn, err error) {
	if conn.state == dead {
		return
	}
	conn.state = dead
	c.bad.Add(1)
	err = fmt.Errorf("client %d: %w", conn.ID, err)
	c.fault.CompareAndSwap(nil, &err)
	c.nudge()
}

var errClosed = errors.New("the connection ended")
