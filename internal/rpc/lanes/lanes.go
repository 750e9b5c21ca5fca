// Package lanes keeps long calls out of the way of short ones. HTTP/2 bounds how many calls a connection has open, and a call
// beyond the bound waits. Streams live for hours, so a few of them on the connection of unary calls would stop everybody.
package lanes

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// StreamsPerLane is how many streams share one connection. Servers allow at least as many (RFC 9113, section 6.5.2).
const StreamsPerLane = 100

// Conn is how one role calls another. Unary calls have a connection to themselves. Streams are spread over further ones, of
// which there are as many as the open streams need. It may be used concurrently.
type Conn struct {
	*grpc.ClientConn // of unary calls

	dial func() (*grpc.ClientConn, error)

	mu     sync.Mutex
	lanes  []*lane
	closed bool
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// lane is one connection for streams. A lane without streams closes its connection by itself after a while, and is used again.
type lane struct {
	conn *grpc.ClientConn
	open int
}

// New returns a connection of which unary is the part for unary calls; dial makes one more for streams.
func New(unary *grpc.ClientConn, dial func() (*grpc.ClientConn, error)) *Conn {
	return &Conn{ClientConn: unary, dial: dial}
}

// errClosed is what a stream gets that is opened after Close.
var errClosed = errors.New("the connection is closed")

// NewStream opens a stream, never on the connection of unary calls.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l, err := c.enter()
	if err != nil {
		return nil, err
	}
	leave := sync.OnceFunc(func() { c.leave(l) })
	// The stream has ended when gRPC says so, however it ended; a stream that could not be opened may be told twice.
	all := slices.Concat(opts, []grpc.CallOption{grpc.OnFinish(func(error) { leave() })})
	stream, err := l.conn.NewStream(ctx, desc, method, all...)
	if err != nil {
		leave()
	}
	return stream, err
}

// enter takes a place in the first lane that has one. So lanes at the end empty first when there are fewer streams.
func (c *Conn) enter() (*lane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	for _, l := range c.lanes {
		if l.open < StreamsPerLane {
			l.open++
			return l, nil
		}
	}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	l := &lane{conn: conn, open: 1}
	c.lanes = append(c.lanes, l)
	return l, nil
}

func (c *Conn) leave(l *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.open--
}

// Streams is how many streams are open.
func (c *Conn) Streams() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		n += l.open
	}
	return n
}

// Close ends all calls.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	lanes := c.lanes
	c.mu.Unlock()
	err := c.ClientConn.Close()
	for _, l := range lanes {
		err = errors.Join(err, l.conn.Close())
	}
	return err
}
