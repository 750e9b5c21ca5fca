// Package proxy stands between two processes and does what a bad network does: it delays, cuts, swallows, refuses and falls silent.
package proxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// Rules say what becomes of what passes. They may be changed at any time, and hold for connections that are open, too.
type Rules struct {
	// Delay holds up each piece, both ways.
	Delay time.Duration
	// Deaf passes on nothing of what clients send, Mute nothing of what servers send; connections stay open.
	Deaf, Mute bool
	// Refuse ends each new connection at once.
	Refuse bool
	// CutAfter ends each connection when its server has sent so many bytes, in the middle of a message or not.
	CutAfter int
	// PauseEvery holds up one in so many answers for a second, after its first byte.
	PauseEvery int
	// SwallowEvery keeps one in so many answers back, and ends its connection.
	SwallowEvery int
}

// Proxy passes connections on to servers. It is made by Start.
type Proxy struct {
	listen net.Listener
	ctx    context.Context //nolint:containedctx // of all connections
	end    context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	targets []string // the first that takes a connection gets it
	rules   Rules
	changed chan struct{} // closed when the rules change
	answers int
	hurt    int
	conns   map[net.Conn]bool
}

// Start starts a proxy on a free port of the loopback.
func Start(targets ...string) (*Proxy, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, err
	}
	p := &Proxy{listen: l, ctx: ctx, end: cancel, targets: targets, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.group.Go(p.accept)
	return p, nil
}

// Addr returns host:port.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Set changes the rules.
func (p *Proxy) Set(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.answers = r, 0
	close(p.changed)
	p.changed = make(chan struct{})
}

// Hurt returns how many connections were cut, and how many answers were swallowed or held up.
func (p *Proxy) Hurt() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hurt
}

// Point makes new connections go elsewhere.
func (p *Proxy) Point(targets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = targets
}

// Drop ends every connection.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Close ends everything and waits for it.
func (p *Proxy) Close() {
	p.end()
	_ = p.listen.Close()
	p.Drop()
	p.group.Wait()
}

// reset ends a connection with a reset rather than an end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) state() (Rules, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules, p.changed
}

func (p *Proxy) accept() {
	for turn := 0; ; turn++ {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		if r, _ := p.state(); r.Refuse {
			reset(client)
			continue
		}
		p.group.Go(func() { p.serve(client, turn) })
	}
}

// serve passes one connection on. Turns begin with different servers, as a load balancer does.
func (p *Proxy) serve(client net.Conn, turn int) {
	p.mu.Lock()
	targets := p.targets
	p.mu.Unlock()
	var server net.Conn
	for i := range targets {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(p.ctx, "tcp", targets[(turn+i)%len(targets)])
		if err == nil {
			server = c
			break
		}
	}
	if server == nil {
		reset(client)
		return
	}
	p.keep(true, client, server)
	defer p.keep(false, client, server)
	var both sync.WaitGroup
	both.Go(func() {
		p.pass(client, server, false)
		_, _ = client.Close(), server.Close()
	})
	p.pass(server, client, true)
	_, _ = client.Close(), server.Close()
	both.Wait()
}

func (p *Proxy) keep(open bool, conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if open {
			p.conns[c] = true
		} else {
			delete(p.conns, c)
		}
	}
	if p.ctx.Err() != nil {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// pass copies one way by the rules.
func (p *Proxy) pass(from, to net.Conn, answers bool) {
	b := make([]byte, 64<<10)
	sent := 0
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if !p.silence(answers) {
			return
		}
		r, _ := p.state()
		if r.Delay > 0 && !p.wait(r.Delay) {
			return
		}
		piece := b[:n]
		if answers {
			var over bool
			if piece, over = p.harm(r, to, piece, sent); over {
				_, _ = to.Write(piece)
				reset(to)
				return
			}
		}
		if _, err := to.Write(piece); err != nil {
			return
		}
		sent += n
	}
}

// harm applies what concerns answers; over says that the connection ends after what remains.
func (p *Proxy) harm(r Rules, to net.Conn, piece []byte, sent int) (rest []byte, over bool) {
	if r.CutAfter > 0 && sent+len(piece) > r.CutAfter {
		p.hurts()
		return piece[:max(r.CutAfter-sent, 0)], true
	}
	p.mu.Lock()
	p.answers++
	nth := p.answers
	p.mu.Unlock()
	if r.SwallowEvery > 0 && nth%r.SwallowEvery == 0 {
		p.hurts()
		return nil, true
	}
	if r.PauseEvery > 0 && nth%r.PauseEvery == 0 && len(piece) > 1 {
		p.hurts()
		if _, err := to.Write(piece[:1]); err != nil || !p.wait(time.Second) {
			return nil, true
		}
		return piece[1:], false
	}
	return piece, false
}

func (p *Proxy) hurts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurt++
}

// silence waits while nothing may pass; false when the proxy ends.
func (p *Proxy) silence(answers bool) bool {
	for {
		r, changed := p.state()
		if answers && !r.Mute || !answers && !r.Deaf {
			return true
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return false
		}
	}
}

func (p *Proxy) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}
