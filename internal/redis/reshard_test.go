package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// shards moves slots of a cluster by hand, within milliseconds.
type shards struct {
	t     *testing.T
	nodes []*goredis.Client
	ids   []string
}

func newShards(t *testing.T, c *redistest.Cluster) *shards {
	t.Helper()
	s := &shards{t: t}
	for _, server := range c.Servers {
		node := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = node.Close() })
		id, err := node.Do(t.Context(), "cluster", "myid").Text()
		testkit.Check(t, err)
		s.nodes, s.ids = append(s.nodes, node), append(s.ids, id)
	}
	return s
}

func (s *shards) slot(a bus.Address) int64 {
	s.t.Helper()
	slot, err := s.nodes[0].ClusterKeySlot(s.t.Context(), "{"+a.String()+"}").Result()
	testkit.Check(s.t, err)
	return slot
}

// of returns the slot of an address and the number of the node that has it.
func (s *shards) of(a bus.Address) (slot int64, owner int) {
	s.t.Helper()
	slot = s.slot(a)
	for i, node := range s.nodes {
		all, err := node.ClusterShards(s.t.Context()).Result()
		testkit.Check(s.t, err)
		for _, shard := range all {
			for _, r := range shard.Slots {
				if slot >= r.Start && slot <= r.End && shard.Nodes[0].ID == s.ids[i] {
					return slot, i
				}
			}
		}
	}
	s.t.Fatalf("slot %d has no owner", slot)
	return 0, 0
}

// move gives an empty slot to another node.
func (s *shards) move(slot int64, from, to int) {
	s.t.Helper()
	testkit.Check(s.t, s.nodes[to].Do(s.t.Context(), "cluster", "setslot", slot, "importing", s.ids[from]).Err())
	testkit.Check(s.t, s.nodes[from].Do(s.t.Context(), "cluster", "setslot", slot, "migrating", s.ids[to]).Err())
	for _, i := range []int{to, from, 3 - to - from} {
		testkit.Check(s.t, s.nodes[i].Do(s.t.Context(), "cluster", "setslot", slot, "node", s.ids[to]).Err())
	}
}

// live publishes a live message; what a cluster refuses while a slot moves is tried again.
func live(t *testing.T, s *redis.Store, a bus.Address, id string) {
	t.Helper()
	p := message(id)
	p.Message.To = a
	testkit.Eventually(t, "the message is published", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		return err == nil
	})
}

// hears waits until messages of an address come, while every look at readiness that goes with deafness is noted.
func hears(t *testing.T, s *redis.Store, r *receiver, f bus.Feed, a bus.Address) {
	t.Helper()
	start, n := time.Now(), 0
	testkit.Eventually(t, "live messages come", func() bool {
		n++
		id := fmt.Sprint("try ", start.UnixNano(), n)
		live(t, s, a, id)
		select {
		case m := <-r.messages:
			return m.ID == id || strings.HasPrefix(m.ID, "try")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(start) > 5*time.Second && f.Ready() == nil {
			t.Fatal("the address is deaf and the feed says that it is ready")
		}
		return false
	})
}

// A slot goes to another node and comes back within milliseconds, again and again. Its live messages come, the interruption is
// told, and readiness is true.
func TestFeed_staysWithASlotThatGoesAndComesBack(t *testing.T) {
	c := redistest.StartCluster(t)
	s, log := counting(t, redis.Config{URL: c.URL()})
	a := address(t, "channels/pendulum")
	r, f := follow(t, s, a)
	sh := newShards(t, c)
	slot, home := sh.of(a)
	other := (home + 1) % len(sh.nodes)
	for range 5 {
		sh.move(slot, home, other)
		sh.move(slot, other, home)
		select {
		case <-r.interrupted:
		case <-time.After(10 * time.Second):
			t.Fatal("no interruption is told")
		}
		hears(t, s, r, f, a)
	}
	testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
	drain(r)
	for i := range 50 {
		id := fmt.Sprint("message ", i)
		live(t, s, a, id)
		for m := next(t, r); m.ID != id; m = next(t, r) {
			if !strings.HasPrefix(m.ID, "try") {
				t.Fatalf("%s came in place of %s", m.ID, id)
			}
		}
	}
	sh.move(slot, home, other) // and one way, which nobody has to wait a second for
	hears(t, s, r, f, a)
	if lines := log.lines.Load(); lines > 0 {
		t.Errorf("%d warnings: a connection was lost", lines)
	}
}

// Subscriptions that meet a slot that has just moved are followed to its new node, and nobody else is interrupted.
func TestFeed_subscribesToAMovedSlotAlone(t *testing.T) {
	c := redistest.StartCluster(t)
	s, log := counting(t, redis.Config{URL: c.URL()})
	sh := newShards(t, c)
	r, f := follow(t, s, address(t, "channels/first"))
	var many []bus.Address
	slots := map[int64]bool{}
	for i := range 1000 {
		many = append(many, address(t, fmt.Sprintf("channels/many:%d", i)))
		slots[sh.slot(many[i])] = true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	testkit.Check(t, f.Subscribe(ctx, many...))
	testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
	for i := range 10 {
		a := address(t, fmt.Sprintf("channels/fresh:%d", i))
		slot, home := sh.of(a)
		if slots[slot] {
			continue // somebody is there, who is interrupted rightly
		}
		sh.move(slot, home, (home+1)%len(sh.nodes))
		testkit.Check(t, f.Subscribe(ctx, a))
		live(t, s, a, "fresh")
		if m := next(t, r); m.To != a {
			t.Fatalf("got %+v", m)
		}
	}
	if lines := log.lines.Load(); lines > 0 || len(r.interrupted) > 0 {
		t.Errorf("%d warnings, interrupted: %t", lines, len(r.interrupted) > 0)
	}
}

// A slot without a master refuses its own subscriptions: they wait, readiness says so, and the others go on.
func TestFeed_waitsForASlotWithoutAMaster(t *testing.T) {
	c := redistest.StartCluster(t)
	s, log := counting(t, redis.Config{URL: c.URL()})
	a := address(t, "channels/orphan")
	r, f := follow(t, s, a)
	sh := newShards(t, c)
	slot, home := sh.of(a)
	var b bus.Address
	for i := 0; ; i++ {
		b = address(t, fmt.Sprintf("channels/other:%d", i))
		if n, at := sh.of(b); n != slot && at == home {
			break // the same connection
		}
	}
	testkit.Check(t, f.Subscribe(t.Context(), b))
	for _, node := range sh.nodes {
		testkit.Check(t, node.Do(t.Context(), "cluster", "delslots", slot).Err())
	}
	testkit.Eventually(t, "readiness is red", func() bool { return f.Ready() != nil })
	live(t, s, b, "other")
	if m := next(t, r); m.To != b {
		t.Fatalf("got %+v", m)
	}
	other := (home + 1) % len(sh.nodes)
	testkit.Check(t, sh.nodes[other].Do(t.Context(), "cluster", "addslots", slot).Err())
	for i, node := range sh.nodes {
		if i != other {
			testkit.Check(t, node.Do(t.Context(), "cluster", "setslot", slot, "node", sh.ids[other]).Err())
		}
	}
	hears(t, s, r, f, a)
	testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
	if lines := log.lines.Load(); lines > 0 {
		t.Errorf("%d warnings: a connection was lost", lines)
	}
}
