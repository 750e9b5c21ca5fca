package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// replicated asks for n replicas under an idempotency key.
func replicated(a bus.Address, key string, n int) bus.Publication {
	p := publication(a)
	p.Message.ID, p.Retention = key, bus.Retention{Length: 100_000, Age: time.Hour}
	p.IdempotencyKey, p.Digest, p.Window = key, "d", time.Minute
	p.Durability, p.Replicas = bus.Replicated, n
	return p
}

// pair starts a master and a replica that is in step.
func pair(t *testing.T) (master, replica *redistest.Server) {
	t.Helper()
	master = redistest.Start(t, "--repl-diskless-sync-delay", "0", "--appendonly", "yes")
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica = redistest.Start(t, "--replicaof", host+" "+port)
	testkit.Eventually(t, "the replica is in step", func() bool {
		out, _ := replica.CLI("info", "replication")
		in, _ := master.CLI("info", "replication")
		return strings.Contains(out, "master_link_status:up") && strings.Contains(in, "state=online")
	})
	return master, replica
}

func TestPublish_replicated(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/replicated")
	r, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "k1", 1)))
	if err != nil || r.Durability != bus.Replicated || r.Replicas != 1 || r.Position.Offset != 1 {
		t.Fatalf("receipt %+v, %v", r, err)
	}
	if _, err := s.Publish(t.Context(), bustest.Admit(replicated(a, "two", 2))); !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("two replicas where there is one: %v", err)
	}
	// The replica hangs: nobody says that it has the message, so it is not OK.
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	_, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "k2", 1)))
	if !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("without the replica: %v", err)
	}
	// Repeating it does not help while nothing has changed, although the message is in the log already.
	if _, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "k2", 1))); !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("again without the replica: %v", err)
	}
	// Others do not wait for it.
	plain := publication(a)
	plain.Retention = keep
	if r, err := s.Publish(t.Context(), bustest.Admit(plain)); err != nil || r.Durability != bus.Accepted {
		t.Errorf("an accepted one: %+v, %v", r, err)
	}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	r, err = s.Publish(t.Context(), bustest.Admit(replicated(a, "k2", 1)))
	if err != nil || !r.Duplicate || r.Position.Offset != 3 || r.Durability != bus.Replicated {
		t.Errorf("after it came back: %+v, %v", r, err)
	}
}

func TestPublishAll_replicated(t *testing.T) {
	master, _ := pair(t)
	s := open(t, master.URL())
	a := address(t, "channels/batch")
	ps := []bus.Publication{publication(a), replicated(a, "b", 1), publication(a), replicated(a, "d", 3)}
	ps[2].Retention = bus.Retention{}
	receipts, errs := s.PublishAll(t.Context(), bustest.AdmitAll(ps...))
	for i, want := range []bus.Durability{bus.Replicated, bus.Replicated, bus.Live, 0} {
		if want == 0 {
			if !errors.Is(errs[i], bus.ErrNotReached) {
				t.Errorf("item %d: %v", i, errs[i])
			}
		} else if errs[i] != nil || receipts[i].Durability != want {
			t.Errorf("item %d: %+v, %v", i, receipts[i], errs[i])
		}
	}
}

func TestPublish_fsynced(t *testing.T) {
	for _, tt := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"--appendonly", "yes", "--appendfsync", "always"}, true},
		{[]string{"--appendonly", "no"}, false},
	} {
		s := open(t, redistest.Start(t, tt.args...).URL())
		a := address(t, "channels/fsynced")
		p := publication(a)
		p.Retention, p.Durability = keep, bus.Fsynced
		r, err := s.Publish(t.Context(), bustest.Admit(p))
		if tt.ok && (err != nil || r.Durability != bus.Fsynced) || !tt.ok && !errors.Is(err, bus.ErrNotDurable) {
			t.Errorf("%v: %+v, %v", tt.args, r, err)
		}
		page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
		testkit.Check(t, err)
		if (len(page.Messages) == 1) != tt.ok {
			t.Errorf("%v: the log has %d messages", tt.args, len(page.Messages))
		}
	}
}

// In a batch with one that the store cannot make durable enough, the others are published.
func TestPublishAll_refusesFsyncAlone(t *testing.T) {
	s := open(t, redistest.Start(t, "--appendonly", "no").URL())
	a := address(t, "channels/mixed")
	ps := []bus.Publication{publication(a), publication(a), publication(a)}
	ps[1].Durability = bus.Fsynced
	_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(ps...))
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrNotDurable) || errs[2] != nil {
		t.Errorf("errors are %v", errs)
	}
}

// Those who wait for a replica that hangs hold up nobody who does not.
func TestPublish_strictOnesLeaveRoom(t *testing.T) {
	master, replica := pair(t)
	s := open(t, master.URL())
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	var waiting sync.WaitGroup
	for i := range 100 {
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, _ = s.Publish(ctx, bustest.Admit(replicated(address(t, "channels/strict"), fmt.Sprint("k", i), 1))) // OK only once the replica is back
		})
	}
	for i := range 50 {
		p := publication(address(t, "channels/others"))
		if _, err := s.Publish(t.Context(), bustest.Admit(p)); err != nil {
			t.Errorf("publish %d: %v", i, err)
		}
	}
	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	waiting.Wait()
}

func TestPing_wantsReplicas(t *testing.T) {
	master, replica := pair(t)
	s := openWith(t, master.URL(), 1)
	testkit.Eventually(t, "readiness is green with the replica", func() bool { return s.Ping(t.Context()) == nil })
	replica.Kill9()
	testkit.Eventually(t, "readiness is red without the replica", func() bool { return s.Ping(t.Context()) != nil })
}

// A master is killed while messages are published at REPLICATED(1): publishing goes on, the same feed delivers again, and
// nothing that was OK is missing.
func TestSentinel_failoverUnderLoad(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL())
	a := address(t, "channels/underload")
	got := make(map[string]int)
	r, f := follow(t, s, a)
	var mu sync.Mutex
	var lastBefore, firstAfter time.Time
	killed := false
	ctx, cancel := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case m := <-r.messages:
				mu.Lock()
				got[m.ID]++
				if killed && firstAfter.IsZero() && m.Published.After(lastBefore) {
					firstAfter = time.Now()
				}
				mu.Unlock()
			case <-r.interrupted:
			case <-ctx.Done():
				return
			}
		}
	})
	var acked []string
	publish := func(i int) bool {
		key := fmt.Sprint("m", i)
		call, done := context.WithTimeout(ctx, 3*time.Second)
		defer done()
		_, err := s.Publish(call, bustest.Admit(replicated(a, key, 1)))
		if err == nil {
			acked = append(acked, key)
		}
		return err == nil
	}
	for i := range 2000 {
		publish(i)
	}
	if len(acked) < 1000 {
		t.Fatalf("only %d publishes were OK before", len(acked))
	}
	mu.Lock()
	killed, lastBefore = true, time.Now()
	mu.Unlock()
	start := time.Now()
	sentinel.Master.Kill9()
	// The replica that is promoted has no replica of its own: what is asked for now is an append.
	recovered := time.Duration(0)
	for i := 0; recovered == 0; i++ {
		p := replicated(a, fmt.Sprint("after", i), 1)
		p.Durability, p.Replicas = 0, 0
		call, done := context.WithTimeout(ctx, 500*time.Millisecond)
		if _, err := s.Publish(call, bustest.Admit(p)); err == nil {
			recovered = time.Since(start)
		}
		done()
		if time.Since(start) > 20*time.Second {
			t.Fatal("publishing does not come back")
		}
	}
	testkit.Eventually(t, "delivery works again", func() bool {
		p := publication(a)
		p.Retention = bus.Retention{Length: 100_000, Age: time.Hour}
		_, _ = s.Publish(ctx, bustest.Admit(p))
		mu.Lock()
		defer mu.Unlock()
		return !firstAfter.IsZero()
	})
	t.Logf("after the kill: publishing again after %s, delivery again after %s", recovered, firstAfter.Sub(start))
	testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
	kept := make(map[string]bool)
	for at, more := (bus.Position{}), true; more; {
		page, err := s.Since(t.Context(), a, bus.Retention{Length: 100_000, Age: time.Hour}, at, 1000)
		if !page.Unproved { // some of what was published asked for no replica
			testkit.Check(t, err)
		}
		for _, m := range page.Messages {
			kept[m.ID] = true
		}
		at, more = page.Next, page.More
	}
	lost := 0
	for _, key := range acked {
		if !kept[key] {
			lost++
		}
	}
	t.Logf("%d publishes were OK at REPLICATED(1), %d of them are missing", len(acked), lost)
	if lost > 0 {
		t.Errorf("%d acknowledged messages are lost", lost)
	}
	cancel()
	reader.Wait()
}
