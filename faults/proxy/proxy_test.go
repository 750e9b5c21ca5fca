package proxy_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/trunkline/trunkline/faults/proxy"
)

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T, rules proxy.Rules) (*proxy.Proxy, net.Conn, *bufio.Reader) {
	t.Helper()
	p, err := proxy.Start(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.Set(rules)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return p, c, bufio.NewReader(c)
}

func say(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func TestProxy_passes(t *testing.T) {
	_, c, r := start(t, proxy.Rules{})
	say(t, c, "a")
	if line, err := r.ReadString('\n'); line != "a\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestProxy_cuts(t *testing.T) {
	p, c, r := start(t, proxy.Rules{CutAfter: 3})
	say(t, c, "abcdef")
	b, err := io.ReadAll(r)
	if len(b) > 3 || string(b) != "abc"[:len(b)] || p.Hurt() != 1 {
		t.Errorf("%q came, %v, %d hurt", b, err, p.Hurt())
	}
}

func TestProxy_swallows(t *testing.T) {
	p, c, r := start(t, proxy.Rules{SwallowEvery: 2})
	say(t, c, "a")
	if line, _ := r.ReadString('\n'); line != "a\n" {
		t.Errorf("the first answer is %q", line)
	}
	say(t, c, "b")
	if b, err := io.ReadAll(r); len(b) != 0 || p.Hurt() != 1 {
		t.Errorf("%q came, %v", b, err)
	}
}

func TestProxy_fallsSilent(t *testing.T) {
	p, c, r := start(t, proxy.Rules{Mute: true})
	say(t, c, "a")
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := r.ReadByte(); err == nil {
		t.Errorf("%q came", b)
	}
	_ = c.SetReadDeadline(time.Time{})
	p.Set(proxy.Rules{})
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "a\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestProxy_refuses(t *testing.T) {
	p, err := proxy.Start(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.Set(proxy.Rules{Refuse: true})
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		return // refused so soon
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "a\n")
	if b, err := bufio.NewReader(c).ReadByte(); err == nil {
		t.Errorf("%q came", b)
	}
}
