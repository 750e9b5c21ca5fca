package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// postEvents is how it keeps its events.
var postEvents = bus.Retention{Length: 100_000, Age: time.Hour}

// postOffice is a publish service that settles messages, over a real server, and its store.
func postOffice(t *testing.T) *redis.Store {
	t.Helper()
	store, err := redis.Open(redis.Config{URL: redistest.Start(t).URL()}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	s, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace(), Events: postEvents}})
	testkit.Check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait(); testkit.Check(t, store.Close()) })
	return store
}

// letters are publications to one user that ask for an ack within a time.
func letters(tb testing.TB, user string, n int, timeout time.Duration) ([]bus.Admitted, []bus.Ack) {
	tb.Helper()
	to, err := bus.NewAddress(bus.KindUsers, user)
	testkit.Check(tb, err)
	list, acks := make([]bus.Publication, n), make([]bus.Ack, n)
	for i := range list {
		id := uuid.NewString()
		list[i] = bus.Publication{
			Message: bus.Message{ID: id, To: to, Data: make([]byte, 128), ContentType: bus.Binary, Ack: bus.AnyDevice},
			Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Timeout: timeout, Keep: time.Hour, Limit: 10_000},
		}
		acks[i] = bus.Ack{To: to, ID: id, Device: "phone"}
	}
	return bustest.AdmitAll(list...), acks
}

// What is acknowledged leaves nothing to look at behind, however much it is. The load lasts 60 s with -long, at 6,000 a second
// where the machine can.
func TestAcks_leaveNothingToLookAt(t *testing.T) {
	store := postOffice(t)
	lasts, workers, batch, rate := 2*time.Second, 16, 64, 6000
	if *long {
		lasts = time.Minute
	}
	var acked atomic.Int64
	var clerks sync.WaitGroup
	began := time.Now()
	for w := range workers {
		clerks.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(workers*batch) / time.Duration(rate))
			defer tick.Stop()
			for time.Since(began) < lasts {
				<-tick.C
				list, acks := letters(t, "u"+strconv.Itoa(w), batch, 30*time.Second)
				_, errs := store.PublishAll(t.Context(), list)
				if err := errors.Join(append(append(errs, store.MarkSent(t.Context(), acks)), store.Ack(t.Context(), acks)...)...); err != nil {
					t.Error(err)
					return
				}
				acked.Add(int64(batch))
			}
		})
	}
	var most int
	watching, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for watching.Err() == nil {
			<-tick.C
			if stats, err := store.DueStats(t.Context()); err == nil {
				most = max(most, stats.Count)
			}
		}
	})
	clerks.Wait()
	took := time.Since(began)
	stop()
	watch.Wait()
	stats, err := store.DueStats(t.Context())
	testkit.Check(t, err)
	t.Logf("%d messages acknowledged in %s, %.0f a second; at most %d to be looked at, %d in the end", acked.Load(), took, float64(acked.Load())/took.Seconds(), most, stats.Count)
	if under := workers * batch; most > under || stats.Count > 0 {
		t.Errorf("at most %d, and %d in the end; %d were under way at once", most, stats.Count, under)
	}
}

// Many messages that come due at once are all settled, beside publishes.
func TestSweep_keepsUp(t *testing.T) {
	store := postOffice(t)
	n, at := 2000, time.Now().Add(2*time.Second)
	if *long {
		n, at = 20_000, time.Now().Add(15*time.Second)
	}
	for i := range n / 100 {
		list, _ := letters(t, fmt.Sprint("u", i%40), 100, max(time.Until(at), 0))
		_, errs := store.PublishAll(t.Context(), list)
		testkit.Check(t, errors.Join(errs...))
	}
	began, beside := time.Now(), 0
	if began.Before(at) {
		<-time.After(time.Until(at))
		began = at
	}
	told, read := 0, bus.Position{}
	all := func() bool { // of each an event says that it is stored
		page, err := store.Since(t.Context(), bus.EventLog, postEvents, read, 2000)
		testkit.Check(t, err)
		told, read = told+len(page.Messages), page.Next
		return told >= n
	}
	for !all() {
		if time.Since(began) > time.Minute {
			t.Fatal("the sweep does not keep up")
		}
		list, acks := letters(t, "beside", 50, 30*time.Second)
		_, errs := store.PublishAll(t.Context(), list)
		testkit.Check(t, errors.Join(append(errs, store.Ack(t.Context(), acks)...)...))
		beside += len(list)
	}
	t.Logf("%d were due; all were settled and told %s later, beside %d publishes and acks", n, time.Since(began), beside)
	stored := 0
	to, err := bus.NewAddress(bus.KindUsers, "u0")
	testkit.Check(t, err)
	page, err := store.Pending(t.Context(), to, bus.PendingQuery{Limit: 1000})
	testkit.Check(t, err)
	for _, w := range page.Messages {
		out, err := store.Settle(t.Context(), bus.Due{To: to, ID: w.ID})
		testkit.Check(t, err)
		if out.Changed == 0 {
			stored++
		}
	}
	if stored != len(page.Messages) || stored == 0 {
		t.Errorf("%d of %d were settled", stored, len(page.Messages))
	}
}
