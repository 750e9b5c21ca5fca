package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Delivery is one shard of an edge that does not run, with subscribers of an address over loopback connections. What goes
// on is what the caller does: there are no other goroutines, but for the writers of backlogs.
type Delivery struct {
	tb    testing.TB
	sink  sink
	shard *shard
	spare []*parcel
	peers []net.Conn // the other ends
	slot  int
	due   []byte // what each peer has to read
	got   []byte
}

// NewDelivery gives an address subscribers that speak the dialect of the slot: client0, client1 and so on.
func NewDelivery(tb testing.TB, e *Edge, to bus.Address, slot, subscribers int) *Delivery {
	tb.Helper()
	d := &Delivery{tb: tb, sink: sink{hub: e.hub, slots: len(e.slots), gaps: e.metrics.gaps}, shard: e.hub.shards[0], slot: slot}
	for i := range subscribers {
		t, peer := newTransport(tb, e, slot)
		t.session.shard, t.session.client = d.shard, fmt.Sprint("client", i)
		sub := &subscription{session: t.session, address: to}
		d.shard.attach([]*subscription{sub})
		d.shard.flip(sub, bus.Position{})
		d.peers = append(d.peers, peer)
	}
	return d
}

// newTransport returns the transport of a new session over a loopback connection, and the other end.
func newTransport(tb testing.TB, e *Edge, slot int) (*transport, net.Conn) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	peer, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := l.Accept()
	if err := errors.Join(err, l.Close()); err != nil {
		tb.Fatal(err)
	}
	t := e.newSession(slot, "127.0.0.1").transport
	t.take(conn)
	tb.Cleanup(func() { _ = peer.Close(); _ = conn.Close(); e.writers.Wait() })
	return t, peer
}

// Expect says what every subscriber has to read when it was given the messages a number of times.
func (d *Delivery) Expect(times int, messages ...*bus.Message) {
	d.due = nil
	for range times {
		for _, m := range messages {
			d.due = append(d.due, messageFrame(d.shard.owner.slots[d.slot], m)...)
		}
	}
	d.got = make([]byte, len(d.due))
}

// Deliver hands over messages, which one round of the shard writes.
func (d *Delivery) Deliver(messages ...*bus.Message) {
	for _, m := range messages {
		d.sink.Deliver(m)
	}
	d.spare = d.shard.turn(d.spare)
}

// Read reads at every subscriber what is expected.
func (d *Delivery) Read() {
	for i := range d.peers {
		d.ReadOne(i)
	}
}

// ReadOne reads at one subscriber what is expected.
func (d *Delivery) ReadOne(i int) {
	if _, err := io.ReadFull(d.peers[i], d.got); err != nil || !bytes.Equal(d.got, d.due) {
		d.tb.Fatalf("subscriber %d got %q (%v)\nwant %q", i, d.got, err, d.due)
	}
}

// Queue is the backlog of a connection whose client does not read unless it is told to.
type Queue struct {
	tb   testing.TB
	t    *transport
	peer net.Conn
	sent int
	got  []byte
}

// NewQueue returns the queue of a new connection: a pair of sockets that take little, and at once.
func NewQueue(tb testing.TB, e *Edge) *Queue {
	tb.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	ends := make([]*net.UnixConn, len(fds))
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		if err := errors.Join(err, file.Close()); err != nil {
			tb.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
	}
	t := e.newSession(0, "").transport
	t.take(ends[0])
	t.raw, err = ends[0].SyscallConn()
	if err := errors.Join(err, ends[0].SetWriteBuffer(4096)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ends[1].Close(); _ = ends[0].Close(); e.writers.Wait() })
	return &Queue{tb: tb, t: t, peer: ends[1], got: make([]byte, 64<<10)}
}

// Fill writes until there is a backlog.
func (q *Queue) Fill() {
	for q.t.idle() {
		q.Put(q.got)
	}
}

// Put writes one frame.
func (q *Queue) Put(p []byte) {
	if err := q.t.sendMessages(p, q.t.session.shard.attempt); err != nil {
		q.tb.Fatal(err)
	}
	q.sent += len(p)
}

// Note hands over that a message was put last, and waits until the store knows everything that counts as written.
func (q *Queue) Note(a bus.Ack) {
	q.t.written([]bus.Ack{a})
	q.Noted()
}

// Noted waits until the store knows everything that counts as written.
func (q *Queue) Noted() {
	ctx, stop := context.WithCancel(q.tb.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = q.t.owner.behind.Run(ctx) })
	if err := q.t.owner.behind.Acks.Flush(ctx); err != nil {
		q.tb.Fatal(err)
	}
	stop()
	running.Wait()
}

// Drop forgets the backlog, but for what its writer is at.
func (q *Queue) Drop() {
	q.t.mu.Lock()
	defer q.t.mu.Unlock()
	for _, p := range q.t.backlog {
		q.sent -= len(p)
		q.t.bytes -= len(p)
	}
	q.t.backlog = nil
}

// Drain reads everything, and waits for the writer of the backlog to end.
func (q *Queue) Drain() {
	for q.sent > 0 {
		n, err := q.peer.Read(q.got[:min(len(q.got), q.sent)])
		if err != nil {
			q.tb.Fatal(err)
		}
		q.sent -= n
	}
	q.t.owner.writers.Wait()
}

// Hangup closes the other end, and waits for the writer of the backlog to end.
func (q *Queue) Hangup() {
	_ = q.peer.Close()
	q.t.owner.writers.Wait()
}

// MessageFrame is the frame of a message.
func MessageFrame(d dialect.Dialect, m *bus.Message) []byte { return messageFrame(d, m) }

// Validate asks who a token stands for, as a connect does.
func (e *Edge) Validate(ctx context.Context, token string) (*bus.Identity, error) {
	return e.tokens.Validate(ctx, token)
}
