package edge_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// hall is clients that are connected, and what they are told once they are in the room.
type hall struct {
	clients []*client
	reading sync.WaitGroup
	events  atomic.Int64 // of all of them
	entries atomic.Int64 // changes that are listed in them
	bytes   atomic.Int64
	most    atomic.Int64 // clients that an event says there are
}

// hallOf connects so many clients, by turns to the edges.
func hallOf(tb testing.TB, n int, edges ...*fixture) *hall {
	tb.Helper()
	h := &hall{clients: make([]*client, n)}
	for i := range h.clients {
		h.clients[i] = edges[i%len(edges)].client(fmt.Sprint("m", i))
	}
	return h
}

// fill has all of them enter the room, and reads what each is told until its connection ends.
func (h *hall) fill(presence bool) {
	for i, c := range h.clients {
		c.send(fmt.Sprintf(`{"id":2,"subscribe":{"address":%q,"presence":%t}}`, room, presence))
		h.reading.Go(func() { h.read(h.clients[i].ws) })
	}
}

func (h *hall) read(ws *websocket.Conn) {
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var f struct {
			PresenceEvent *struct {
				Changes []json.RawMessage
				Clients int64
			}
		}
		if json.Unmarshal(text, &f) != nil || f.PresenceEvent == nil {
			continue
		}
		h.events.Add(1)
		h.bytes.Add(int64(len(text)))
		h.entries.Add(int64(len(f.PresenceEvent.Changes)))
		for most := h.most.Load(); f.PresenceEvent.Clients > most; most = h.most.Load() {
			h.most.CompareAndSwap(most, f.PresenceEvent.Clients)
		}
	}
}

func (h *hall) close() {
	for _, c := range h.clients {
		_ = c.ws.Close()
	}
	h.reading.Wait()
}

// A hall that fills makes as many events as there are beats, and not one for each pair of members. Beyond the bound nobody is
// listed any more.
func TestPresenceEvents_ofAHall(t *testing.T) {
	const members, listed = 150, 40
	twoEdgesWith(t, edge.Config{LostGrace: time.Minute}, listed, func(t *testing.T, a, b *fixture) {
		h := hallOf(t, members, a, b)
		defer h.close()
		start := time.Now()
		h.fill(true)
		testkit.Eventually(t, "somebody hears that all are there", func() bool { return h.most.Load() == members })
		beats := int64(time.Since(start)/(250*time.Millisecond)) + 2
		t.Logf("%d events with %d entries told to %d members in %d beats", h.events.Load(), h.entries.Load(), members, beats)
		if n := h.events.Load(); n > beats*members {
			t.Errorf("%d events are told to %d members in %d beats", n, members, beats)
		}
		if n := h.entries.Load(); n > listed*members {
			t.Errorf("%d entries of lists are told, with at most %d members listed", n, listed)
		}
	})
}

// BenchmarkPresence_hall fills a hall and says what that costs, clients included, with presence events and without them.
func BenchmarkPresence_hall(b *testing.B) {
	const members = 1500
	for _, presence := range []bool{false, true} {
		b.Run(fmt.Sprintf("events=%t", presence), func(b *testing.B) {
			var cpu time.Duration
			var told, bytes int64
			for range b.N {
				f := start(b, edge.Config{})
				h := hallOf(b, members, f)
				before := used(b)
				h.fill(presence)
				testkit.Eventually(b, "all are there", func() bool { return f.total() == members })
				testkit.Eventually(b, "it is quiet", func() bool { return f.quiet(h) })
				cpu += used(b) - before
				told += h.events.Load()
				bytes += h.bytes.Load()
				h.close()
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(told)/float64(b.N), "events/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
}

// total is how many members the room has.
func (h *fixture) total() int {
	a, err := bus.ParseAddress(room)
	testkit.Check(h.tb, err)
	page, err := h.store.Members(h.tb.Context(), a, "", 1)
	testkit.Check(h.tb, err)
	return page.Total
}

// quiet says whether nobody was told anything for longer than a beat takes.
func (h *fixture) quiet(of *hall) bool {
	before := of.events.Load()
	pause := time.NewTimer(2 * time.Second)
	defer pause.Stop()
	<-pause.C
	return of.events.Load() == before
}

// used is how much of the cores this process has used.
func used(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	testkit.Check(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
