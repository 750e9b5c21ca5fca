package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/events"
)

// noting is a store that counts how often a webhook's place is written.
type noting struct {
	*memory.Store
	places atomic.Int64
}

func (n *noting) Advance(ctx context.Context, name, owner string, at bus.Position, ttl time.Duration) (bool, error) {
	n.places.Add(1)
	return n.Store.Advance(ctx, name, owner, at, ttl)
}

// several is a receiver of batches: of the ids that it was sent, it has those that it took.
type several struct {
	*httptest.Server
	mu    sync.Mutex
	ids   []string
	sizes []int
	tried map[string]int // requests by their id
}

// batches starts a receiver. refuse says with which status a request is refused that has these events; 0 for not.
func batches(tb testing.TB, refuse func(ids []string) int) *several {
	tb.Helper()
	s := &several{tried: make(map[string]int)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var b struct {
			Type      string
			Timestamp time.Time
			Data      []struct {
				Type      string
				Timestamp time.Time
				Data      struct{ ID string }
			}
		}
		if err != nil || json.Unmarshal(body, &b) != nil || b.Type != "batch" || b.Timestamp.IsZero() {
			tb.Errorf("the body is %s", body)
		}
		var ids []string
		for _, e := range b.Data {
			if e.Type != string(bus.EventConnected) || e.Timestamp.IsZero() {
				tb.Errorf("the event is %+v", e)
			}
			ids = append(ids, e.Data.ID)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tried[r.Header.Get("webhook-id")]++
		if status := refuse(ids); status != 0 {
			w.WriteHeader(status)
			return
		}
		s.ids = append(s.ids, ids...)
		s.sizes = append(s.sizes, len(ids))
	}))
	tb.Cleanup(s.Close)
	return s
}

func (s *several) has(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids) >= n
}

// send runs the events service for a webhook until the receiver has so many events of 100, and returns its store.
func send(t *testing.T, s *several, batch, want int) *noting {
	t.Helper()
	store := &noting{Store: newStore()}
	w := begin(t, store.Store)
	for i := range 100 {
		w.write(bus.EventConnected, fmt.Sprint(i))
	}
	cfg := on()
	cfg.Node, cfg.RetryMin, cfg.RetryMax = "node", time.Millisecond, 2*time.Millisecond
	cfg.Webhooks = []events.Webhook{{Name: "hook", URL: s.URL, Secrets: secrets(t), AllowPrivate: true, Batch: batch, GiveUpTries: 5}}
	srv, err := events.New(store, cfg, nil)
	testkit.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return srv.Run(ctx) })
	testkit.Eventually(t, "it has them", func() bool { return s.has(want) })
	cancel()
	testkit.Check(t, g.Wait())
	return store
}

func expected(without ...int) []string {
	var ids []string
	for i := range 100 {
		if !slices.Contains(without, i) {
			ids = append(ids, bus.EventID(fmt.Sprint(i)))
		}
	}
	return ids
}

// Events go together in one request where that is configured, in their order, and the place is written once for each.
func TestWebhook_batches(t *testing.T) {
	s := batches(t, func([]string) int { return 0 })
	store := send(t, s, 40, 100)
	if fmt.Sprint(s.sizes) != "[40 40 20]" {
		t.Errorf("requests had %v events", s.sizes)
	}
	if !slices.Equal(s.ids, expected()) {
		t.Errorf("got %v", s.ids)
	}
	if n := store.places.Load(); n > 4 {
		t.Errorf("its place was written %d times", n)
	}
}

// What the receiver always refuses is tried a few times, alone in the end, and holds up nothing else.
func TestWebhook_refusedEventsHoldUpNobody(t *testing.T) {
	for _, batch := range []int{2, 16, 100} {
		for _, status := range []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusRequestEntityTooLarge} {
			t.Run(fmt.Sprint(batch, "/", status), func(t *testing.T) {
				bad := []string{bus.EventID("7"), bus.EventID("8"), bus.EventID("99")}
				s := batches(t, func(ids []string) int {
					if slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(bad, id) }) {
						return status
					}
					return 0
				})
				send(t, s, batch, 97)
				if !slices.Equal(s.ids, expected(7, 8, 99)) {
					t.Errorf("got %v", s.ids)
				}
				for id, n := range s.tried {
					if n > 5 {
						t.Errorf("the request %s was tried %d times", id, n)
					}
				}
			})
		}
	}
}

// A receiver that says later, or is away, has refused nothing: everything waits for it.
func TestWebhook_laterIsNoRefusal(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway} {
		n := 0
		s := batches(t, func([]string) int {
			if n++; n <= 20 {
				return status
			}
			return 0
		})
		send(t, s, 10, 100)
		if !slices.Equal(s.ids, expected()) {
			t.Errorf("%d: got %d of 100", status, len(s.ids))
		}
	}
}
