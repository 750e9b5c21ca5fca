package redistest

import (
	"context"
	"net"
	"sync"
	"time"
)

// Dial connects to the proxy, whatever address it is given. On such a connection a pause takes no longer than its reader needs.
// It begins when the reader has used everything that was sent and waits for more. To the reader it lasts as long as any pause of
// the proxy. Of a deadline that would pass in it, the reader is told at once.
func (p *Proxy) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr())
	if err != nil {
		return nil, err
	}
	w := &watched{Conn: conn, changed: make(chan struct{}, 1)}
	p.dialled.Store(conn.LocalAddr().String(), w)
	return w, nil
}

// wait pauses on the connection to a client that was sent so many bytes. False when the proxy or the connection has ended.
func (p *Proxy) wait(client net.Conn, sent int64) bool {
	if w, ok := p.dialled.Load(client.RemoteAddr().String()); ok {
		return w.(*watched).pause(p.ctx, sent, p.pause)
	}
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// watched is the client's side of a connection, which notes what its reader was given and whether it waits. One goroutine reads
// while another one pauses.
type watched struct {
	net.Conn
	changed chan struct{} // to the one that pauses

	mu       sync.Mutex
	given    int64 // bytes
	reads    int   // that have begun
	waits    bool  // the last of them is under way
	deadline time.Time
	closed   bool
}

// Read reads, and notes that the reader waits until something comes.
func (w *watched) Read(b []byte) (int, error) {
	w.note(func() { w.reads, w.waits = w.reads+1, true })
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	w.waits = false
	w.given += int64(n)
	w.mu.Unlock()
	return n, err
}

// SetReadDeadline sets the deadline, and notes it.
func (w *watched) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	w.deadline = t
	w.mu.Unlock()
	return w.Conn.SetReadDeadline(t)
}

// Close ends the connection, and a pause on it.
func (w *watched) Close() error {
	w.note(func() { w.closed = true })
	return w.Conn.Close()
}

func (w *watched) note(change func()) {
	w.mu.Lock()
	change()
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// pause waits until the reader has used what was sent and waits again. Then the given time passes for it: each of its deadlines
// that ends in that time has passed when pause returns. False when the connection or ctx has ended.
func (w *watched) pause(ctx context.Context, sent int64, length time.Duration) bool {
	for after := 0; ; {
		reads, deadline, ok := w.waiting(ctx, sent, after)
		if !ok {
			return false
		}
		left := time.Until(deadline)
		if deadline.IsZero() || left > length {
			return true
		}
		length -= max(left, time.Millisecond) // a reader that goes on has a deadline again
		after = reads
		if w.Conn.SetReadDeadline(time.Unix(1, 0)) != nil {
			return false
		}
	}
}

// waiting waits until the reader is in a read after that number, and has used everything.
func (w *watched) waiting(ctx context.Context, sent int64, after int) (reads int, deadline time.Time, ok bool) {
	for {
		w.mu.Lock()
		idle := w.waits && w.given == sent && w.reads > after
		reads, deadline, ok = w.reads, w.deadline, !w.closed
		w.mu.Unlock()
		if idle || !ok {
			return reads, deadline, ok
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return reads, deadline, false
		}
	}
}
