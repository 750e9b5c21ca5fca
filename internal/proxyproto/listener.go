package proxyproto

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// headerTimeout is how long a proxy may take to send the header.
const headerTimeout = 5 * time.Second

// Reader reads the headers at all listeners of a process. It may be used concurrently.
type Reader struct {
	trusts  func(netip.Addr) bool
	timeout time.Duration
	refused *prometheus.CounterVec
	log     *slog.Logger
	warn    *rate.Limiter
}

// New returns a reader that believes the proxies that trusts names. The log hears of headers that cannot be read, at most once in ten
// seconds.
func New(trusts func(netip.Addr) bool, log *slog.Logger, reg prometheus.Registerer) *Reader {
	r := &Reader{trusts: trusts, timeout: headerTimeout, log: log, warn: rate.NewLimiter(rate.Every(10*time.Second), 1)}
	r.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trunkline_proxy_headers_refused_total",
		Help: "Connections of trusted proxies that were closed because of their PROXY header, by cause: malformed, timeout or incomplete.",
	}, []string{"cause"})
	if reg != nil {
		reg.MustRegister(r.refused)
	}
	return r
}

// Listen returns a listener whose connections from proxies begin with a header, which then says whom they come from. Other callers
// are not believed: for them a header is no part of any protocol.
func (r *Reader) Listen(l net.Listener) net.Listener { return &listener{Listener: l, reader: r} }

type listener struct {
	net.Listener

	reader *Reader
}

// Accept waits for nothing but a connection: its header is read by whoever serves it.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	peer, ok := tcp.RemoteAddr().(*net.TCPAddr)
	if !ok || !l.reader.trusts(peer.AddrPort().Addr().Unmap().WithZone("")) {
		return c, nil
	}
	return &Conn{TCPConn: tcp, reader: l.reader, from: peer}, nil
}

// refuse counts a connection whose header could not be read. One that ends before it sends anything is how proxies look whether a port
// is open.
func (r *Reader) refuse(c *net.TCPConn, err error) {
	cause := "incomplete"
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET):
		return
	case errors.Is(err, errHeader):
		cause = "malformed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause = "timeout"
	}
	r.refused.WithLabelValues(cause).Inc()
	if r.warn.Allow() {
		r.log.Warn("a connection of a trusted proxy has no readable PROXY header and is closed; does the proxy send one to this port?",
			slog.String("proxy", c.RemoteAddr().String()), slog.String("listener", c.LocalAddr().String()), slog.String("cause", cause))
	}
}

// Conn is a connection from a proxy. What is first asked of it, whom it comes from or a byte, reads the header.
type Conn struct {
	*net.TCPConn

	reader *Reader
	header sync.Once
	from   net.Addr
	err    error

	mu       sync.Mutex
	deadline time.Time // for reading, as it was set last
}

// RemoteAddr returns whom the proxy connects for, or the proxy itself when it does not say.
func (c *Conn) RemoteAddr() net.Addr {
	c.begin()
	return c.from
}

// Read reads what follows the header.
func (c *Conn) Read(b []byte) (int, error) {
	if c.begin(); c.err != nil {
		return 0, c.err
	}
	return c.TCPConn.Read(b)
}

// WriteTo copies what follows the header.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if c.begin(); c.err != nil {
		return 0, c.err
	}
	return c.TCPConn.WriteTo(w)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of what follows the header, which has a deadline of its own.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.TCPConn.SetReadDeadline(t)
}

// begin reads the header, once.
func (c *Conn) begin() {
	c.header.Do(func() {
		_ = c.TCPConn.SetReadDeadline(time.Now().Add(c.reader.timeout)) // a connection that is closed says so when it is read
		from, err := readHeader(c.TCPConn)
		c.mu.Lock()
		_ = c.TCPConn.SetReadDeadline(c.deadline)
		c.mu.Unlock()
		if c.err = err; err != nil {
			c.reader.refuse(c.TCPConn, err)
			_ = c.Close() // nobody speaks to it: every answer would be to the wrong question
		} else if from.IsValid() {
			c.from = net.TCPAddrFromAddrPort(from)
		}
	})
}
