package publish_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// observed is a store that tells the test what each message came to that it settled.
type observed struct {
	*memory.Store
	settled func(bus.DeliveryState)
}

func (o *observed) SettleAll(ctx context.Context, list []bus.Verdict) ([]bus.Settlement, []error) {
	out, errs := o.Store.SettleAll(ctx, list)
	for i := range out {
		if errs[i] == nil && out[i].Changed != 0 {
			o.settled(out[i].Changed)
		}
	}
	return out, errs
}

// distant is a store that takes a while to judge messages, however many it is asked about.
type distant struct {
	*observed
	takes time.Duration

	mu    sync.Mutex
	calls int
}

func (d *distant) Judge(ctx context.Context, due []bus.Due) ([]bus.Verdict, []error) {
	d.mu.Lock()
	d.calls++
	d.mu.Unlock()
	<-time.After(d.takes)
	return d.observed.Judge(ctx, due)
}

// Messages that come due at once are settled many together, several batches at a time, one after the other.
func TestSweep_settlesManyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, due, batch, flights = 4096, time.Second, 256, 4
		start, settled := time.Now(), make(chan time.Duration, n)
		seen := &observed{Store: memory.New(memory.Config{}), settled: func(bus.DeliveryState) { settled <- time.Since(start) }}
		store := &distant{observed: seen, takes: 100 * time.Millisecond}
		s, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace()}})
		testkit.Check(t, err)
		var list []bus.Publication
		for i := range n {
			to, err := bus.NewAddress(bus.KindUsers, fmt.Sprint("u", i%16))
			testkit.Check(t, err)
			list = append(list, bus.Publication{
				Message: bus.Message{ID: fmt.Sprint("m", i), To: to, ContentType: bus.JSON, Ack: bus.AnyDevice},
				Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Timeout: due, Keep: time.Hour, Limit: n},
			})
		}
		_, errs := store.PublishAll(t.Context(), bustest.AdmitAll(list...))
		testkit.Check(t, errors.Join(errs...))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		var last time.Duration
		for range n {
			last = <-settled
		}
		cancel()
		testkit.Check(t, <-done)
		const tick = 250 * time.Millisecond // between two looks
		if most := due + tick + n/batch/flights*store.takes; last > most {
			t.Errorf("the last one was settled after %s; it could have been after %s", last, most)
		}
		if store.calls > n/batch+flights {
			t.Errorf("the store was asked %d times about %d messages", store.calls, n)
		}
	})
}
