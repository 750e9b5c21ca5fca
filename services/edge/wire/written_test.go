package wire_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/behind"
	"github.com/trunkline/trunkline/services/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is still in the queue of a client that does not read was not delivered.
func TestDeliveries_countWhenTheyAreWritten(t *testing.T) {
	store := memory.New(memory.Config{})
	told := behind.New(store, nil, behind.Config{Node: "test", Life: "test", CallTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)}, nil)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { testkit.Check(t, told.Run(ctx)) })
	defer running.Wait()
	defer stop()
	ada, err := bus.ParseAddress("users/ada")
	testkit.Check(t, err)
	sent := func(id string) int {
		d, err := store.Delivery(t.Context(), ada, id, false)
		testkit.Check(t, err)
		return d.SentCount
	}
	for _, id := range []string{"read", "lost"} {
		_, err := store.Publish(t.Context(), bustest.Admit(bus.Publication{
			Message: bus.Message{ID: id, To: ada, ContentType: bus.Text, Ack: bus.AnyDevice},
			Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Minute, Keep: time.Hour, Limit: 10},
		}))
		testkit.Check(t, err)
		q := wire.NewQueue(t)
		q.Fill()
		q.Put(make([]byte, 256))
		q.AfterWritten(func() { told.Acks.Wrote([]bus.Ack{{To: ada, ID: id, Device: "phone", Again: true}}) })
		testkit.Check(t, told.Acks.Flush(t.Context()))
		if n := sent(id); n != 0 {
			t.Errorf("%s: given to %d devices while it was in the queue", id, n)
		}
		if id == "lost" {
			q.Hangup()
		} else {
			q.Drain()
		}
		testkit.Check(t, told.Acks.Flush(t.Context()))
		if n, want := sent(id), map[string]int{"read": 1}[id]; n != want {
			t.Errorf("%s: given to %d devices, want %d", id, n, want)
		}
	}
}

// Of what waits for a client, only the frame that it has a part of goes out after the end of its token.
func TestExpiry_dropsWhatWaits(t *testing.T) {
	q := wire.NewQueue(t)
	q.Farewell = wire.CloseFrame(4402, "expired")
	frame := wire.Frame(2, 32<<10, func(dst []byte) []byte { return append(dst, make([]byte, 32<<10)...) })
	all := q.PutAll(frame)
	q.Expire()
	waiting := q.Waiting() // the kernel may have taken more by now
	if waiting < 6 {
		t.Fatalf("only %d of %d messages wait: the test proves nothing", waiting, all)
	}
	if n := q.Count(len(frame)); n > all-waiting+3 { // the one that has begun, and two in the write under way
		t.Errorf("%d of %d messages went out, and %d waited", n, all, waiting)
	}
}
