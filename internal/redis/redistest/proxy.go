package redistest

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/redis/resp"
)

// Proxy stands between clients and a server, and may hold up what the server sends in the middle of a value, or add to it.
type Proxy struct {
	listen net.Listener
	server string
	ctx    context.Context
	pass   Pass
	pause  time.Duration
	group  sync.WaitGroup

	dialled sync.Map // watched, by the address of the client
}

// Pass is asked before a value that the server has sent is passed on. It is given the value and its bytes, and returns what to
// send, in pieces, with a pause between each two. It may be called concurrently.
type Pass func(v resp.Value, wire []byte) [][]byte

// Cut returns the pieces of a value whose byte at a place is sent by itself.
func Cut(wire []byte, place int) [][]byte {
	return [][]byte{wire[:place], wire[place : place+1], wire[place+1:]}
}

// NewProxy starts a proxy in front of a server. It ends with the test.
func NewProxy(tb testing.TB, server string, pause time.Duration, pass Pass) *Proxy {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listen: l, server: server, ctx: ctx, pass: pass, pause: pause}
	p.group.Go(p.accept)
	tb.Cleanup(func() {
		cancel()
		_ = l.Close()
		p.group.Wait()
	})
	return p
}

// Addr returns host:port.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// URL returns the URL for a store.
func (p *Proxy) URL() string { return "redis://" + p.Addr() + "/0" }

func (p *Proxy) accept() {
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
		p.group.Go(func() {
			p.forward(client, server)
			_, _, _ = over(), client.Close(), server.Close()
		})
		p.group.Go(func() {
			p.answer(client, resp.New(server, time.Minute))
			_, _, _ = over(), client.Close(), server.Close()
		})
	}
}

func (p *Proxy) forward(client, server net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

// answer passes on what the server says.
func (p *Proxy) answer(client net.Conn, server *resp.Conn) {
	for sent := int64(0); ; {
		v, err := server.Read()
		if err != nil {
			return
		}
		for i, piece := range p.pass(v, Encode(nil, v)) {
			if i > 0 && !p.wait(client, sent) {
				return
			}
			n, err := client.Write(piece)
			if sent += int64(n); err != nil {
				return
			}
		}
	}
}

// Encode appends a value as it is on the wire.
func Encode(b []byte, v resp.Value) []byte {
	b = append(b, byte(v.Kind))
	switch {
	case v.Absent:
		b = append(b, "-1"...)
	case v.Kind == resp.Simple, v.Kind == resp.Error:
		b = append(b, v.Text...)
	case v.Kind == resp.Integer:
		b = strconv.AppendInt(b, v.Number, 10)
	case v.Kind == resp.Bulk, v.Kind == resp.Verbatim:
		b = append(strconv.AppendInt(b, int64(len(v.Text)), 10), "\r\n"...)
		b = append(b, v.Text...)
	case v.Kind == resp.Map:
		b = strconv.AppendInt(b, int64(len(v.Items)/2), 10)
	case v.Kind != resp.Null:
		b = strconv.AppendInt(b, int64(len(v.Items)), 10)
	}
	b = append(b, "\r\n"...)
	for _, item := range v.Items {
		b = Encode(b, item)
	}
	return b
}
