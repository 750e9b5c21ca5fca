package fan

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// Rig is a hub over a store. Nothing runs, but for the writers of backlogs and those who catch up.
type Rig struct {
	tb      testing.TB
	hub     *Hub
	tail    *tail.Tail
	sockets *wire.Sockets
	writers sync.WaitGroup
}

// NewRig returns a rig; what cfg leaves out is as an edge has it.
func NewRig(tb testing.TB, store tail.Store, cfg Config) *Rig {
	tb.Helper()
	r := &Rig{tb: tb}
	for field, usual := range map[*int]int{
		&cfg.HoldLimit: 1024, &cfg.HoldBytes: 1 << 20, &cfg.HoldTotal: 64 << 20,
		&cfg.ShardParcels: 16 << 10, &cfg.ShardBytes: 32 << 20,
	} {
		if *field == 0 {
			*field = usual
		}
	}
	cfg.Now, cfg.Wrote = time.Now, func([]bus.Ack) {}
	cfg.Go = func(_ *Subscriber, f func()) { r.writers.Go(f) }
	cfg.Tick = func(time.Time, *Shard) {}
	r.hub = New(cfg, nil)
	r.tail = tail.New(store, r.hub, tail.Config{Namespaces: cfg.Namespaces, Logger: slog.New(slog.DiscardHandler)})
	r.sockets = wire.New(wire.Config{
		QueueBytes: 1 << 20, WriteTimeout: 10 * time.Second, CloseTimeout: 30 * time.Second, CloseWait: 3 * time.Second, Go: r.writers.Go,
	})
	return r
}

// Run runs the shards until the test ends.
func (r *Rig) Run() {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(ctx) })
	r.tb.Cleanup(func() { stop(); running.Wait() })
}

// Wrote waits for the writers of backlogs and for those who catch up.
func (r *Rig) Wrote() { r.writers.Wait() }

// member is a session that does nothing of its own. Nobody reads what its client sends.
type member struct {
	*Subscriber
	rig     *Rig
	refused atomic.Pointer[bus.Error]
}

var (
	_ Session      = (*member)(nil)
	_ wire.Handler = (*member)(nil)
)

func (m *member) Refuse(why *bus.Error) {
	if m.refused.CompareAndSwap(nil, why) {
		last := m.EventFrame(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Error{Error: rpc.ErrorProto(why)}})
		m.Conn.Finish(append(slices.Clip(last), wire.CloseFrame(4000, "")...))
	}
}

func (*member) Left(*Subscription) {}

func (*member) Denied(_ *Subscription, list []*bus.Message) ([]bool, error) {
	return make([]bool, len(list)), nil
}

func (m *member) CatchUp(ctx context.Context, sub *Subscription) error {
	return sub.Replay(ctx, m.rig.tail, sub.At())
}

func (m *member) Stop(why error) {
	if why == wire.ErrExpired { //nolint:errorlint // as it is given
		m.Refuse(bus.ErrTokenExpired)
		return
	}
	m.Slow()
}

func (*member) Receive(int, []byte) {}
func (*member) Ping() bool          { return false }

// Flooded is not called.
func (*member) Flooded()                          {}
func (*member) Closing(int, string) (int, string) { return 0, "" }
func (*member) Ended(error)                       {}

// join adds a member that speaks the dialect of the slot over a loopback connection, and returns the other end.
func (r *Rig) join(slot int) (*member, net.Conn) {
	r.tb.Helper()
	m := &member{rig: r}
	m.Subscriber = r.hub.Subscriber(m, r.sockets.NewConn(m), slot)
	m.shard = r.hub.shards[0]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := m.Conn.Upgrade(w, req, nil, 1<<20); err != nil {
			r.tb.Error(err)
		}
	}))
	defer server.Close() // the handshake is over then; the connection stays
	peer, err := (&net.Dialer{}).DialContext(r.tb.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		r.tb.Fatal(err)
	}
	const handshake = "GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := io.WriteString(peer, handshake); err != nil {
		r.tb.Fatal(err)
	}
	answer := make([]byte, 0, 256)
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) { // byte by byte: what follows is a frame
		var b [1]byte
		if _, err := io.ReadFull(peer, b[:]); err != nil {
			r.tb.Fatal(err)
		}
		answer = append(answer, b[0])
	}
	r.tb.Cleanup(func() { _ = peer.Close(); _ = m.Conn.Close(); r.writers.Wait() })
	return m, peer
}

// Delivery is one shard with subscribers of an address. What goes on is what the caller does.
type Delivery struct {
	rig   *Rig
	shard *Shard
	spare []*parcel
	peers []net.Conn // the other ends
	slot  int
	due   []byte // what each peer has to read
	got   []byte
}

// Deliver gives an address subscribers that speak the dialect of the slot: client0, client1 and so on.
func (r *Rig) Deliver(to bus.Address, slot, subscribers int) *Delivery {
	r.tb.Helper()
	d := &Delivery{rig: r, shard: r.hub.shards[0], slot: slot}
	for i := range subscribers {
		m, peer := r.join(slot)
		m.Client = fmt.Sprint("client", i)
		sub := &Subscription{to: m.Subscriber, address: to}
		m.Attach([]*Subscription{sub})
		sub.Flip(bus.Position{})
		d.peers = append(d.peers, peer)
	}
	return d
}

// Expect says what every subscriber has to read when it was given the messages a number of times.
func (d *Delivery) Expect(times int, messages ...*bus.Message) {
	d.due = nil
	for range times {
		for _, m := range messages {
			d.due = append(d.due, messageFrame(d.rig.hub.cfg.Dialects[d.slot], m)...)
		}
	}
	d.got = make([]byte, len(d.due))
}

// Deliver hands over messages, which one round of the shard writes.
func (d *Delivery) Deliver(messages ...*bus.Message) {
	for _, m := range messages {
		d.rig.hub.Deliver(m)
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
		d.rig.tb.Fatalf("subscriber %d got %q (%v)\nwant %q", i, d.got, err, d.due)
	}
}

// MessageFrame is the frame of a message.
func MessageFrame(d dialect.Dialect, m *bus.Message) []byte { return messageFrame(d, m) }
