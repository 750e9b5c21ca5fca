package edge_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

var kept = bus.Retention{Length: 10_000, Age: time.Hour}

// logless is a store whose log of events can be away.
type logless struct {
	*memory.Store
	away atomic.Bool
}

func (d *logless) PublishAll(ctx context.Context, ps []bus.Admitted) ([]bus.Receipt, []error) {
	if len(ps) > 0 && ps[0].Publication().Message.To == bus.EventLog && d.away.Load() {
		errs := make([]error, len(ps))
		for i := range errs {
			errs[i] = bus.ErrStoreUnavailable
		}
		return make([]bus.Receipt, len(ps)), errs
	}
	return d.Store.PublishAll(ctx, ps)
}

// eventful is a fixture that keeps events, of which so many may wait; 0 for as many as usual.
func eventful(t *testing.T, queue int) (*fixture, *logless) {
	t.Helper()
	store := &logless{Store: memory.New(memory.Config{Events: kept})}
	return startOn(t, store, edge.Config{Namespaces: bus.Namespaces{Events: kept}, EventQueue: queue}), store
}

// told returns who came and went: "connected USER", "disconnected USER REASON" or "gap MISSING", of n events or more.
func told(t *testing.T, s bus.Log, n int) []string {
	t.Helper()
	var all []string
	testkit.Eventually(t, "as many events are told", func() bool {
		page, err := s.Since(context.WithoutCancel(t.Context()), bus.EventLog, kept, bus.Position{}, 1000)
		testkit.Check(t, err)
		all = nil
		for _, m := range page.Messages {
			e, err := bus.EventOf(m)
			testkit.Check(t, err)
			switch e.Kind {
			case bus.EventConnected:
				all = append(all, "connected "+e.User)
			case bus.EventDisconnected:
				all = append(all, "disconnected "+e.User+" "+e.Reason)
			case bus.EventGap:
				all = append(all, fmt.Sprint("gap ", e.Missing, " ", e.Reason, " ", e.Node))
			}
		}
		return len(all) >= n
	})
	return all
}

func TestEvents_sayHowAConnectionEnded(t *testing.T) {
	h, store := eventful(t, 0)
	h.connected(h.token("clean")).leave()
	told(t, store, 2)
	h.dial("").leave() // it never was a session
	testkit.Check(t, h.connected(h.token("lost")).ws.NetConn().Close())
	told(t, store, 4)
	bad := h.connected(h.token("bad"))
	testkit.Check(t, bad.ws.WriteMessage(websocket.BinaryMessage, []byte("{}")))
	bad.closed()
	_ = bad.ws.Close()
	told(t, store, 6)
	h.connected(h.token("moved"))
	told(t, store, 7)
	h.stop()
	want := "[connected clean disconnected clean client connected lost disconnected lost lost connected bad disconnected bad " +
		bus.ErrUnsupportedMediaType.Reason + " connected moved disconnected moved " + bus.ErrDraining.Reason + "]"
	if got := fmt.Sprint(told(t, store, 8)); got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
	if more, err := store.Reap(context.Background(), 0); more || err != nil {
		t.Error(more, err)
	}
	if got := told(t, store, 8); len(got) != 8 {
		t.Errorf("a reaper found %s", got[8:])
	}
}

// While the log is away connects go on. What is too much is left out with its end, and told as a gap.
func TestEvents_tellWhatTheyLeaveOut(t *testing.T) {
	h, store := eventful(t, 3)
	store.away.Store(true)
	h.connected(h.token("first"))
	clients := make([]*client, 10)
	for i := range clients {
		clients[i] = h.connected(h.token(fmt.Sprint(i)))
	}
	clients[9].leave() // of whom nothing is told
	store.away.Store(false)
	got := told(t, store, 3)
	missing := 0
	if _, err := fmt.Sscanf(got[len(got)-1], "gap %d overflow test", &missing); err != nil || missing+len(got)-1 != 11 {
		t.Fatalf("events are %q", got)
	}
	clients[8].leave()
	h.connected(h.token("later"))
	if all := told(t, store, len(got)+1); all[len(got)] != "connected later" {
		t.Errorf("events are %q", all)
	}
}

// A process that was taken for dead tells again who is connected.
func TestEvents_areToldAgainAfterAReap(t *testing.T) {
	h, store := eventful(t, 0)
	c := h.connected(h.token("ada"))
	told(t, store, 1)
	if _, err := store.Reap(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	told(t, store, 3)
	c.leave()
	want := "[connected ada disconnected ada node_lost connected ada disconnected ada client]"
	if got := fmt.Sprint(told(t, store, 4)); got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
}

// What the store does not take when the edge stops is told by a reaper.
func TestEvents_leftUnwrittenAreReaped(t *testing.T) {
	h, store := eventful(t, 0)
	h.connected(h.token("ada"))
	told(t, store, 1)
	store.away.Store(true)
	h.stop()
	if _, err := store.Reap(context.Background(), 0); err != nil && !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Fatal(err)
	}
	if got := fmt.Sprint(told(t, store, 2)); got != "[connected ada disconnected ada node_lost]" {
		t.Errorf("events are %s", got)
	}
}
