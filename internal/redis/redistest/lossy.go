package redistest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Lossy stands between clients and a server, and loses a connection when a certain command comes.
type Lossy struct {
	listen net.Listener
	server string
	ctx    context.Context
	group  sync.WaitGroup

	mu      sync.Mutex
	text    []byte // nil until the next Lose
	carried bool
}

// NewLossy starts a proxy in front of a server. It ends with the test.
func NewLossy(tb testing.TB, server string) *Lossy {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Lossy{listen: l, server: server, ctx: ctx}
	p.group.Go(p.accept)
	tb.Cleanup(func() {
		cancel()
		_ = l.Close()
		p.group.Wait()
	})
	return p
}

// URL returns the URL for a store.
func (p *Lossy) URL() string { return "redis://" + p.listen.Addr().String() + "/0" }

// Lose loses the connection on which the text comes next. When the text is to be carried out, the answer to it is lost with the
// connection. Otherwise the connection is lost before the server gets the text.
func (p *Lossy) Lose(text string, carried bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.carried = []byte(text), carried
}

// meets says whether bytes hold the text, and what is to become of them.
func (p *Lossy) meets(b []byte) (met, carried bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil || !bytes.Contains(b, p.text) {
		return false, false
	}
	p.text = nil
	return true, p.carried
}

func (p *Lossy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		over := context.AfterFunc(p.ctx, func() { _, _ = client.Close(), server.Close() })
		deaf := new(atomic.Bool)
		p.group.Go(func() {
			p.ask(client, server, deaf)
			if !deaf.Load() { // otherwise the answer ends it
				_, _, _ = over(), client.Close(), server.Close()
			}
		})
		p.group.Go(func() {
			p.answer(client, server, deaf)
			_, _, _ = over(), client.Close(), server.Close()
		})
	}
}

// ask passes on what the client says.
func (p *Lossy) ask(client, server net.Conn, deaf *atomic.Bool) {
	b := make([]byte, 1<<20)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		met, carried := p.meets(b[:n])
		if met && !carried {
			return
		}
		deaf.Store(met)
		if _, err := server.Write(b[:n]); err != nil || met {
			return
		}
	}
}

// answer passes on what the server says, up to what is to be lost.
func (p *Lossy) answer(client, server net.Conn, deaf *atomic.Bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil || deaf.Load() {
			return
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}
