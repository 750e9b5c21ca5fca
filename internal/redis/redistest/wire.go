package redistest

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Wire stands between one process and a server. It can be cut, leave subscriptions deaf, and lead to another server.
type Wire struct {
	listen net.Listener
	ctx    context.Context
	group  sync.WaitGroup

	mu     sync.Mutex
	server string // empty while it is cut
	conns  map[*wired]struct{}
}

// wired is one connection of the process.
type wired struct {
	client, server net.Conn

	mu         sync.Mutex
	subscribes bool // it has asked for a subscription
	deaf       bool // what the server says is lost
}

// NewWire starts a wire that leads to a server. It ends with the test.
func NewWire(tb testing.TB, server *Server) *Wire {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w := &Wire{listen: l, ctx: ctx, server: server.Addr(), conns: make(map[*wired]struct{})}
	w.group.Go(w.accept)
	tb.Cleanup(func() {
		cancel()
		_ = l.Close()
		w.Cut()
		w.group.Wait()
	})
	return w
}

// URL returns the URL for a store.
func (w *Wire) URL() string { return "redis://" + w.listen.Addr().String() + "/0" }

// Cut ends all connections. New ones end at once.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = ""
	for c := range w.conns {
		c.close()
	}
}

// Mend lets new connections reach a server.
func (w *Wire) Mend(server *Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = server.Addr()
}

// Deafen loses what the server says on connections with subscriptions. They stay open, and so do all others.
func (w *Wire) Deafen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.mu.Lock()
		c.deaf = c.subscribes
		c.mu.Unlock()
	}
}

func (w *Wire) accept() {
	for {
		client, err := w.listen.Accept()
		if err != nil {
			return
		}
		w.connect(client)
	}
}

func (w *Wire) connect(client net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &wired{client: client}
	if w.server == "" || w.ctx.Err() != nil {
		_ = client.Close()
		return
	}
	var err error
	if c.server, err = (&net.Dialer{}).DialContext(w.ctx, "tcp", w.server); err != nil {
		_ = client.Close()
		return
	}
	w.conns[c] = struct{}{}
	w.group.Go(func() { c.copy(c.server, c.client, c.asked) })
	w.group.Go(func() {
		c.copy(c.client, c.server, c.hears)
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
	})
}

// copy carries bytes one way while pass says so, until either side ends.
func (c *wired) copy(to io.Writer, from io.Reader, pass func([]byte) bool) {
	defer c.close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && pass(b[:n]) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *wired) asked(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribes = c.subscribes || bytes.Contains(bytes.ToLower(b), []byte("subscribe\r\n"))
	return true
}

func (c *wired) hears([]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deaf
}

func (c *wired) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}
