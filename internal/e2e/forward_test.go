package e2e_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

// forward passes the connections to one address on to another, until the test ends.
func forward(tb testing.TB, from, to string) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", from)
	testkit.Check(tb, err)
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

// wire passes connections on until it is cut.
type wire struct {
	address, to string

	mu     sync.Mutex
	conns  []net.Conn
	down   bool
	silent chan struct{} // closed at the heal; nil while bytes pass
	open   sync.WaitGroup
}

func newWire(tb testing.TB, to string) *wire {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(tb, err)
	w := &wire{address: l.Addr().String(), to: to}
	w.open.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			w.pass(a)
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		w.heal()
		w.reset()
		w.open.Wait()
	})
	return w
}

func (w *wire) pass(a net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := (&net.Dialer{}).Dial("tcp", w.to)
	if err != nil || w.down {
		_ = a.Close()
		if b != nil {
			_ = b.Close()
		}
		return
	}
	w.conns = append(w.conns, a, b)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		w.open.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				w.hold()
				if err == nil {
					_, err = way[1].Write(buf[:n])
				}
				if err != nil {
					_ = way[0].Close()
					_ = way[1].Close()
					return
				}
			}
		})
	}
}

// hold waits while the wire is silent.
func (w *wire) hold() {
	w.mu.Lock()
	silent := w.silent
	w.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// cut lets nothing through: silently, or by resetting connections and taking no more.
func (w *wire) cut(silent bool) {
	w.mu.Lock()
	if silent {
		w.silent = make(chan struct{})
	} else {
		w.down = true
	}
	w.mu.Unlock()
	if !silent {
		w.reset()
	}
}

// heal undoes cut.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
	if w.silent != nil {
		close(w.silent)
		w.silent = nil
	}
}
