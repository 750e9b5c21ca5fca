package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
		s, peer := connect(tb, e, slot)
		s.shard, s.client = d.shard, fmt.Sprint("client", i)
		sub := &subscription{session: s, address: to}
		d.shard.attach([]*subscription{sub})
		d.shard.flip(sub, bus.Position{})
		d.peers = append(d.peers, peer)
	}
	return d
}

// connect gives a new session a loopback connection, and returns the other end. Nobody reads what that sends.
func connect(tb testing.TB, e *Edge, slot int) (*session, net.Conn) {
	tb.Helper()
	s := e.newSession(slot, "127.0.0.1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.conn.Upgrade(w, r, nil, 1<<20); err != nil {
			tb.Error(err)
		}
	}))
	defer server.Close() // the handshake is over then; the connection stays
	peer, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	const handshake = "GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := io.WriteString(peer, handshake); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, 0, 256)
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) { // byte by byte: what follows is a frame
		var b [1]byte
		if _, err := io.ReadFull(peer, b[:]); err != nil {
			tb.Fatal(err)
		}
		answer = append(answer, b[0])
	}
	tb.Cleanup(func() { _ = peer.Close(); _ = s.conn.Close(); e.writers.Wait() })
	return s, peer
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

// MessageFrame is the frame of a message.
func MessageFrame(d dialect.Dialect, m *bus.Message) []byte { return messageFrame(d, m) }

// Validate asks who a token stands for, as a connect does.
func (e *Edge) Validate(ctx context.Context, token string) (*bus.Identity, error) {
	return e.tokens.Validate(ctx, token)
}
