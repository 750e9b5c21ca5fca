package e2e_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// forward passes the connections to one address on to another, until the test ends.
func forward(tb testing.TB, from, to string) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", from)
	check(tb, err)
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	open.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			keep(a)
			b, err := (&net.Dialer{}).Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			keep(b)
			pass := func(dst, src net.Conn) {
				_, _ = io.Copy(dst, src) // ends when either side does
				_ = dst.Close()
				_ = src.Close()
			}
			open.Go(func() { pass(a, b) })
			open.Go(func() { pass(b, a) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
}
