package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// patient opens a store whose calls to a frozen server end late, so that what they hold up is seen without a clock.
func patient(t *testing.T, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(redis.Config{URL: url, Timeout: 5 * time.Second}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	return s
}

// homeless are publishes to one address that are under way.
type homeless struct {
	refused chan error
	done    sync.WaitGroup
}

// knock publishes to an address from many callers, in every way, until the test ends.
func knock(t *testing.T, s *redis.Store, a bus.Address) *homeless {
	t.Helper()
	h := &homeless{refused: make(chan error, 1024)}
	for i := range 30 {
		h.done.Go(func() {
			p := publication(a)
			if i%3 == 0 {
				p.Durability = bus.Replicated // of no replica: it goes the way of those who wait
			}
			_, err := s.Publish(context.WithoutCancel(t.Context()), bustest.Admit(p))
			h.refused <- err
		})
	}
	t.Cleanup(h.done.Wait)
	return h
}

// While one master is frozen, publishes of every kind to the others are all carried out before the first one to it is refused. From then
// on it refuses at once, and it is heard again as soon as it answers.
func TestCluster_aFrozenMasterHoldsUpNobody(t *testing.T) {
	c := redistest.StartCluster(t)
	for _, server := range c.Servers {
		set(t, server, "appendonly", "yes")
		set(t, server, "appendfsync", "always")
	}
	s := patient(t, c.URL())
	addresses := homes(t, c, func(a bus.Address) {
		testkit.Eventually(t, "the cluster takes writes", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
			return err == nil
		})
	})
	frozen := c.Servers[0]
	testkit.Check(t, syscall.Kill(frozen.PID(), syscall.SIGSTOP))
	thaw := sync.OnceFunc(func() { _ = syscall.Kill(frozen.PID(), syscall.SIGCONT) })
	t.Cleanup(thaw)
	h := knock(t, s, addresses[0])
	for i := range 200 {
		p := publication(addresses[1+i%2])
		p.Durability = []bus.Durability{bus.Accepted, bus.Replicated, bus.Fsynced, 0}[i%4]
		if p.Durability == 0 {
			p.Retention = bus.Retention{}
		}
		if _, err := s.Publish(t.Context(), bustest.Admit(p)); err != nil {
			t.Fatalf("publish %d to a healthy master: %v", i, err)
		}
	}
	select {
	case err := <-h.refused:
		t.Fatalf("the healthy masters were slower than the first refusal of the frozen one: %v", err)
	default:
	}
	if err := <-h.refused; !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Errorf("a publish to the frozen master: %v", err)
	}
	testkit.Eventually(t, "the frozen master is refused without being asked", func() bool { return refusedUnasked(s.Publish(t.Context(), bustest.Admit(publication(addresses[0])))) })
	for i := range 1000 {
		if _, err := s.Publish(t.Context(), bustest.Admit(publication(addresses[0]))); !errors.Is(err, bus.ErrStoreUnavailable) {
			t.Fatalf("publish %d to the frozen master: %v", i, err)
		}
	}
	if err := s.Ping(t.Context()); !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Errorf("ping: %v", err)
	}
	thaw()
	testkit.Eventually(t, "the master is heard again", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(publication(addresses[0])))
		return err == nil
	})
}

func refusedUnasked(_ bus.Receipt, err error) bool {
	var e *bus.Error
	return errors.As(err, &e) && e.RetryAfter > 0 && strings.Contains(e.Detail(), "not sent: the server does not answer")
}

// A batch for several masters is carried out on each by itself, in the order of each address.
func TestCluster_aBatchIsSplitByMaster(t *testing.T) {
	c := redistest.StartCluster(t)
	s := patient(t, c.URL())
	addresses := homes(t, c, func(a bus.Address) {
		testkit.Eventually(t, "the cluster takes writes", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
			return err == nil
		})
	})
	var batch []bus.Publication
	for i := range 30 {
		p := publication(addresses[i%3])
		p.Message.Data = fmt.Append(nil, i)
		batch = append(batch, p)
	}
	testkit.Check(t, syscall.Kill(c.Servers[0].PID(), syscall.SIGSTOP))
	thaw := sync.OnceFunc(func() { _ = syscall.Kill(c.Servers[0].PID(), syscall.SIGCONT) })
	t.Cleanup(thaw)
	var done sync.WaitGroup
	defer done.Wait()
	answered := make(chan struct{})
	var errs []error
	done.Go(func() {
		_, errs = s.PublishAll(context.WithoutCancel(t.Context()), bustest.AdmitAll(batch...))
		close(answered)
	})
	for n, a := range addresses[1:] {
		var page bus.Page
		testkit.Eventually(t, "the part of a healthy master is carried out", func() bool {
			var err error
			page, err = s.Since(t.Context(), a, keep, bus.Position{}, 100)
			return err == nil && len(page.Messages) == 11
		})
		for i, m := range page.Messages[1:] {
			if want := fmt.Sprint(3*i + n + 1); string(m.Data) != want {
				t.Errorf("%s: message %d is %s, want %s", a, i, m.Data, want)
			}
		}
	}
	select {
	case <-answered:
		t.Error("the frozen master has answered")
	default:
	}
	thaw()
	<-answered
	testkit.Check(t, errors.Join(errs...))
}

// A master that is gone refuses its own publishes, and nobody else's.
func TestCluster_aKilledMasterHoldsUpNobody(t *testing.T) {
	c := redistest.StartCluster(t)
	s := patient(t, c.URL())
	addresses := homes(t, c, func(a bus.Address) {
		testkit.Eventually(t, "the cluster takes writes", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
			return err == nil
		})
	})
	c.Servers[0].Kill9()
	h := knock(t, s, addresses[0])
	for i := range 200 {
		if _, err := s.Publish(t.Context(), bustest.Admit(publication(addresses[1+i%2]))); err != nil {
			t.Fatalf("publish %d to a healthy master: %v", i, err)
		}
	}
	for range 30 {
		if err := <-h.refused; !errors.Is(err, bus.ErrStoreUnavailable) {
			t.Errorf("a publish to the killed master: %v", err)
		}
	}
	c.Servers[0].Restart()
	testkit.Eventually(t, "the master is there again", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(publication(addresses[0])))
		return err == nil
	})
}

// The time of a message may be another master's to keep. When that is gone, the message is published and looked at all the same, and its
// time goes home when the master is back.
func TestCluster_aTimeIsKeptElsewhereMeanwhile(t *testing.T) {
	c := redistest.StartCluster(t)
	s := patient(t, c.URL())
	_ = homes(t, c, func(a bus.Address) {
		testkit.Eventually(t, "the cluster takes writes", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
			return err == nil
		})
	})
	var inbox bus.Address
	for i := 0; inbox.IsZero(); i++ {
		a := address(t, fmt.Sprintf("users/u%d", i))
		if out, _ := c.Servers[1].CLI("exists", "tl:{"+a.String()+"}:m"); !strings.HasPrefix(out, "MOVED") {
			inbox = a
		}
	}
	gone := c.Servers[0]
	gone.Kill9()
	wanted := map[string]bool{}
	for i := range 30 { // spread over all sets
		p := mail(inbox, fmt.Sprint("mail", i))
		p.Ack.Timeout = 0
		if p.Durability = bus.Accepted; i%2 == 0 {
			p.Durability = bus.Replicated // of no replica
		}
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		testkit.Check(t, err)
		wanted[p.Message.ID] = true
	}
	testkit.Eventually(t, "all are looked at", func() bool {
		due, err := s.DueDeliveries(t.Context(), 1000)
		testkit.Check(t, err)
		for _, d := range due {
			delete(wanted, d.ID)
		}
		return len(wanted) == 0
	})
	gone.Restart()
	testkit.Eventually(t, "the times are at home", func() bool {
		_, err := s.DueDeliveries(t.Context(), 1000)
		n, _ := gone.CLI("--scan", "--pattern", "tl:{due:*")
		return err == nil && strings.Contains(n, "due:")
	})
}
