package memory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
)

// logs keeps what is published for a minute.
var logs = bus.Retention{Length: 100, Age: time.Minute}

func named(t testing.TB, kind bus.Kind, name string) bus.Address {
	t.Helper()
	a, err := bus.NewAddress(kind, name)
	testkit.Check(t, err)
	return a
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// way is one way to make the store keep something, new with each number.
type way func(t testing.TB, s *memory.Store, i int) error

func ways() map[string]way {
	publish := func(t testing.TB, s *memory.Store, p bus.Publication) error {
		p.Message.ID, p.Message.ContentType = fmt.Sprintf("%036d", len(p.Message.Data)), bus.JSON
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		return err
	}
	channel := func(t testing.TB, i int) bus.Address { return named(t, bus.KindChannels, fmt.Sprint("kept:", i)) }
	return map[string]way{
		"small messages to new channels": func(t testing.TB, s *memory.Store, i int) error {
			return publish(t, s, bus.Publication{Message: bus.Message{To: channel(t, i), Data: []byte("12")}, Retention: logs})
		},
		"large messages": func(t testing.TB, s *memory.Store, i int) error {
			return publish(t, s, bus.Publication{Message: bus.Message{To: channel(t, i), Data: make([]byte, 60<<10)}, Retention: logs})
		},
		"many to one channel": func(t testing.TB, s *memory.Store, i int) error {
			return publish(t, s, bus.Publication{Message: bus.Message{To: channel(t, i/100), Data: make([]byte, 100)}, Retention: logs})
		},
		"attributes": func(t testing.TB, s *memory.Store, i int) error {
			attributes := make(map[string]string)
			for j := range 32 {
				attributes[fmt.Sprintf("%064d", j)] = strings.Repeat("x", 1024)
			}
			return publish(t, s, bus.Publication{Message: bus.Message{To: channel(t, i), Attributes: attributes}, Retention: logs})
		},
		"retained messages": func(t testing.TB, s *memory.Store, i int) error {
			return publish(t, s, bus.Publication{Message: bus.Message{To: channel(t, i), Data: make([]byte, 300)}, Retain: time.Minute})
		},
		"idempotency keys": func(t testing.TB, s *memory.Store, i int) error {
			return publish(t, s, bus.Publication{
				Message:        bus.Message{To: channel(t, i/1000)},
				IdempotencyKey: fmt.Sprintf("%0128d", i), Digest: fmt.Sprintf("%064d", i), Publisher: "ada", Window: time.Minute,
			})
		},
		"messages that ask for an ack": func(t testing.TB, s *memory.Store, i int) error {
			p := bus.Publication{
				Message: bus.Message{ID: fmt.Sprintf("%036d", i), To: named(t, bus.KindUsers, fmt.Sprint(i/20)), Data: []byte("12"), ContentType: bus.JSON},
				Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Limit: 1000, Timeout: time.Second, Keep: time.Minute},
			}
			_, err := s.Publish(t.Context(), bustest.Admit(p))
			return err
		},
		"states": func(t testing.TB, s *memory.Store, i int) error {
			_, err := s.SetState(t.Context(), bustest.AdmitState(bus.StateChange{
				Publication: bus.Publication{Message: bus.Message{ID: fmt.Sprintf("%036d", i), To: channel(t, i), ContentType: bus.JSON}},
				Value:       make([]byte, 1000), TTL: time.Minute,
			}))
			return err
		},
		"tokens": func(t testing.TB, s *memory.Store, i int) error {
			return s.SaveToken(t.Context(), fmt.Sprintf("%064d", i), make([]byte, 200), time.Minute)
		},
		"families": func(t testing.TB, s *memory.Store, i int) error {
			return s.SaveFamily(t.Context(), fmt.Sprintf("%036d", i), fmt.Sprintf("%064d", i), make([]byte, 200), time.Minute)
		},
		"channels": func(t testing.TB, s *memory.Store, i int) error {
			return s.CreateChannel(t.Context(), bus.Channel{
				Address: channel(t, i), Labels: map[string]string{"a": strings.Repeat("x", 100)}, TokenDigest: fmt.Sprintf("%064d", i),
			}, 0)
		},
		"values": func(t testing.TB, s *memory.Store, i int) error {
			_, err := s.Command(t.Context(), bus.ValueCommand{
				Owner: fmt.Sprint("owner-", i/10), Verb: bus.ValueSet, Keys: []string{fmt.Sprint("key-", i)}, Value: strings.Repeat("x", 100),
				Limit: 1000, Keep: time.Minute,
			})
			return err
		},
	}
}

// Whatever fills the store, it is refused at the limit, and the heap has grown by about as much.
func TestLimit_isThatOfTheHeap(t *testing.T) {
	const limit = 6 << 20
	for name, keep := range ways() {
		t.Run(name, func(t *testing.T) {
			before := heap()
			s := memory.New(memory.Config{Limit: limit, Keys: 100_000})
			n := 0
			var err error
			for ; err == nil && n < 500_000; n++ {
				err = keep(t, s, n)
			}
			grown := heap() - before
			t.Logf("%d of them: the heap has grown by %d%% of the limit, %d each", n, grown*100/limit, grown/int64(n))
			if !errors.Is(err, bus.ErrStorageFull) || !errors.Is(s.Ping(t.Context()), bus.ErrStorageFull) {
				t.Errorf("after %d: %v, ready %v", n, err, s.Ping(t.Context()))
			}
			if grown < limit*6/10 || grown > limit*14/10 {
				t.Errorf("%d of them: the heap has grown by %d of %d, %d each", n, grown, limit, grown/int64(n))
			}
		})
	}
}

// When everything has ended, everything is free again, and counted so: by itself, whether or not anybody publishes.
func TestRun_freesWhatHasEnded(t *testing.T) {
	all := ways()
	delete(all, "channels") // they do not end
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := memory.New(memory.Config{Limit: 16 << 20, Metrics: reg})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { testkit.Check(t, s.Run(ctx)) })
		for i := 0; s.Ping(t.Context()) == nil; i++ {
			for _, keep := range all {
				_ = keep(t, s, i) // the last ones are refused
			}
		}
		time.Sleep(2 * time.Minute)
		settle(t, s)
		if full, left := 16<<20, used(t, reg); left > float64(full/2) {
			t.Errorf("%.0f bytes of %d are left after their time", left, full)
		}
		testkit.Check(t, s.Ping(t.Context()))
		time.Sleep(2*time.Hour + bus.ReceiptAge)
		if left := used(t, reg); left != 0 {
			t.Errorf("%.0f bytes are counted when nothing is kept", left)
		}
		cancel()
		wg.Wait()
	})
}

// settle judges what is due, as the publish service does.
func settle(t *testing.T, s *memory.Store) {
	for {
		due, err := s.DueDeliveries(t.Context(), 1000)
		testkit.Check(t, err)
		if len(due) == 0 {
			return
		}
		verdicts := make([]bus.Verdict, len(due))
		for i, d := range due {
			verdicts[i] = bus.Verdict{Due: d}
		}
		_, errs := s.SettleAll(t.Context(), verdicts)
		testkit.Check(t, errors.Join(errs...))
	}
}

func used(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	testkit.Check(t, err)
	for _, f := range families {
		if f.GetName() == "trunkline_memory_store_bytes" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// When the store is full, what makes room goes on, and so do revocations, live messages and repeats.
func TestLimit_letsWhatMakesRoomThrough(t *testing.T) {
	s := memory.New(memory.Config{Limit: 1 << 20, Events: bustest.Events})
	a, user := named(t, bus.KindChannels, "a"), named(t, bus.KindUsers, "ada")
	first := bus.Publication{
		Message: bus.Message{ID: "first", To: a, ContentType: bus.JSON}, Retention: logs, IdempotencyKey: "k", Digest: "d", Window: time.Minute,
	}
	_, err := s.Publish(t.Context(), bustest.Admit(first))
	testkit.Check(t, err)
	_, err = s.Publish(t.Context(), bustest.Admit(bus.Publication{
		Message: bus.Message{ID: "mail", To: user, ContentType: bus.JSON},
		Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Limit: 10, Timeout: time.Second, Keep: time.Minute},
	}))
	testkit.Check(t, err)
	testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{Address: a}, 0))
	_, err = s.SetState(t.Context(), bustest.AdmitState(bus.StateChange{Publication: bus.Publication{Message: bus.Message{To: a}}, Value: []byte("{}"), TTL: time.Hour}))
	testkit.Check(t, err)
	fill := ways()["small messages to new channels"]
	for i := 0; fill(t, s, i) == nil; i++ {
	}
	if r, err := s.Publish(t.Context(), bustest.Admit(first)); err != nil || !r.Duplicate {
		t.Errorf("a repeat: %+v, %v", r, err)
	}
	live := bus.Publication{Message: bus.Message{ID: "live", To: a, ContentType: bus.JSON}}
	_, err = s.Publish(t.Context(), bustest.Admit(live))
	testkit.Check(t, err)
	testkit.Check(t, errors.Join(s.Ack(t.Context(), []bus.Ack{{To: user, ID: "mail", Device: "d"}})...))
	testkit.Check(t, s.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "eve"}, time.Time{}, time.Hour))
	testkit.Check(t, s.Join(t.Context(), a, bus.Member{Connection: "c", Client: "c", Node: "n"}))
	testkit.Check(t, s.Leave(t.Context(), a, "c"))
	testkit.Check(t, s.DeleteState(t.Context(), bustest.AdmitDeletion(a)))
	testkit.Check(t, s.DeleteChannel(t.Context(), a))
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{{Kind: bus.SubjectUser, ID: "eve"}})
	if err != nil || times[0].IsZero() {
		t.Errorf("the revocation: %v, %v", times, err)
	}
}

// Revocations and the list of channels cost the same, however many there are.
func TestMeta_doesNotWalkEverything(t *testing.T) {
	s := memory.New(memory.Config{})
	revoke := func(n, from int) time.Duration {
		began := time.Now()
		for i := range n {
			testkit.Check(t, s.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectToken, ID: fmt.Sprint(from + i)}, time.Time{}, time.Hour))
		}
		return time.Since(began)
	}
	first := revoke(2000, 0)
	revoke(40_000, 10_000)
	if later := revoke(2000, 100_000); later > 10*first {
		t.Errorf("2,000 revocations took %s, and %s behind 42,000 others", first, later)
	}
	list := func() time.Duration {
		best := time.Hour
		for range 5 {
			began := time.Now()
			page, err := s.ListChannels(t.Context(), "channels/kept:1", 50)
			if err != nil || len(page.Channels) != 50 {
				t.Fatal(len(page.Channels), err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	create := ways()["channels"]
	for i := range 1000 {
		testkit.Check(t, create(t, s, i))
	}
	few := list()
	for i := 1000; i < 10_000; i++ {
		testkit.Check(t, create(t, s, i))
	}
	if many := list(); many > 10*few+time.Millisecond {
		t.Errorf("a page took %s, and %s of 10 times as many", few, many)
	}
}
