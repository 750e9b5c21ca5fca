package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// many returns n publications to one address, numbered; only each keyed one needs the script.
func many(a bus.Address, n int, r bus.Retention) []bus.Publication {
	ps := make([]bus.Publication, n)
	for i := range ps {
		ps[i] = publication(a)
		ps[i].Message.ID = fmt.Sprintf("%04d", i)
		ps[i].Retention = r
	}
	return ps
}

// A server that does not know the script yet learns it while batches of several callers are on their way.
func TestPublishAll_keepsItsOrderOnAServerWithoutScripts(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	for round := range 10 {
		if out, err := server.CLI("script", "flush"); err != nil {
			t.Fatal(out, err)
		}
		var callers sync.WaitGroup
		for c := range 8 {
			callers.Go(func() {
				a := address(t, fmt.Sprintf("channels/order:%d.%d", round, c))
				_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(many(a, 300, keep)...))
				for _, err := range errs {
					if err != nil {
						t.Error(err)
					}
				}
				page, err := s.Since(t.Context(), a, keep, bus.Position{}, 1000)
				if err != nil || len(page.Messages) != 300 {
					t.Errorf("%d messages, %v", len(page.Messages), err)
				}
				for i, m := range page.Messages {
					if m.ID != fmt.Sprintf("%04d", i) {
						t.Errorf("%s has message %s in place %d", a, m.ID, i)
						return
					}
				}
			})
		}
		callers.Wait()
	}
}

// Live messages need no script, unless they have a key; both kinds in one batch keep their order all the same.
func TestPublishAll_keepsTheOrderOfMixedItems(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "users/mixed")
	r, _ := follow(t, s, a)
	ps := many(a, 100, bus.Retention{})
	for i := range ps {
		if i%3 == 0 {
			ps[i].IdempotencyKey, ps[i].Digest, ps[i].Window = ps[i].Message.ID, "d", time.Minute
		}
	}
	_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(ps...))
	for i, err := range errs {
		testkit.Check(t, err)
		if m := <-r.messages; m.ID != ps[i].Message.ID {
			t.Fatalf("message %s came in place %d", m.ID, i)
		}
	}
}

// Subscribe holds also right after an Unsubscribe: an older confirmation does not count for it.
func TestFeed_subscribesAgainAtOnce(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	r, f := follow(t, s, address(t, "channels/other"))
	a := address(t, "channels/again")
	for i := range 2000 {
		var first sync.WaitGroup
		first.Go(func() { _ = f.Subscribe(t.Context(), a) })
		f.Unsubscribe(a)
		testkit.Check(t, f.Subscribe(t.Context(), a))
		first.Wait()
		f.Unsubscribe(a)
		testkit.Check(t, f.Subscribe(t.Context(), a))
		p := publication(a)
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
		select {
		case m := <-r.messages:
			if m.ID != p.Message.ID {
				t.Fatalf("got message %s, want %s", m.ID, p.Message.ID)
			}
		case <-time.After(2 * time.Second):
			t.Fatalf("message %d did not come", i)
		}
		f.Unsubscribe(a)
	}
}

// A later revocation for a shorter time does not end an earlier one.
func TestRevoke_isNotShortenedByAnother(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	now := time.Now().Truncate(time.Millisecond)
	user := bus.Subject{Kind: "user", ID: "42"}
	testkit.Check(t, s.Revoke(t.Context(), user, now, time.Hour))
	testkit.Check(t, s.Revoke(t.Context(), user, now.Add(-time.Minute), 50*time.Millisecond))
	<-time.After(100 * time.Millisecond)
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{user})
	testkit.Check(t, err)
	if !times[0].Equal(now) {
		t.Errorf("revoked before %s, want %s", times[0], now)
	}
}
