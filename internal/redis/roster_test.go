package redis_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A page of a crowded channel costs what the page costs, and nothing that a roster leaves in Redis stays for ever.
func TestRoster_crowd(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/crowd")
	const n, callers = 10_000, 20
	if err := s.Beat(t.Context(), bus.Node{Life: "node"}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				m := bus.Member{Connection: fmt.Sprintf("%05d", i), Client: fmt.Sprint(i), Node: "node", Joined: time.Now()}
				if err := s.Join(t.Context(), a, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d joins took %v", n, time.Since(start))
	start = time.Now()
	after := ""
	const pages = 20
	for range pages {
		page, err := s.Members(t.Context(), a, after, 100)
		if err != nil || len(page.Members) != 100 || page.Total != n || !page.More {
			t.Fatalf("%d of %d, %v", len(page.Members), page.Total, err)
		}
		after = page.Members[99].Connection
	}
	if after != fmt.Sprintf("%05d", pages*100-1) {
		t.Errorf("the pages end at %s", after)
	}
	t.Logf("a page of 100 of %d took %v", n, time.Since(start)/pages)
	if err := s.Lose(t.Context(), a, "00000", time.Now(), time.Minute); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	for range pages {
		if more, err := s.Reap(t.Context(), bus.NodeTTL); err != nil || more {
			t.Fatal(more, err)
		}
	}
	t.Logf("a look for what is due took %v", time.Since(start)/pages)
	keys, err := server.CLI("keys", "*")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(keys)
	if len(names) < 8 {
		t.Errorf("keys are %q", names)
	}
	for _, name := range names {
		if ttl, err := server.CLI("ttl", name); err != nil || strings.HasPrefix(ttl, "-") {
			t.Errorf("%s has the lifetime %s", name, ttl)
		}
	}
}

// A node is told that a server has lost what it was told: it was emptied, or another life of it has begun.
func TestKept_changesWithWhatMayBeLost(t *testing.T) {
	kept := func(s *redis.Store) string {
		t.Helper()
		text := ""
		testkit.Eventually(t, "the store answers", func() bool {
			var err error
			text, err = s.Kept(t.Context(), "node")
			return err == nil
		})
		return text
	}
	t.Run("on one server", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, server.URL())
		first := kept(s)
		if kept(s) != first {
			t.Error("it changes by itself")
		}
		if _, err := server.CLI("flushall"); err != nil {
			t.Fatal(err)
		}
		second := kept(s)
		server.Kill9()
		server.Restart()
		third := kept(s)
		if first == second || second == third {
			t.Errorf("%q, emptied %q, restarted %q", first, second, third)
		}
	})
	t.Run("in a Cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		s := open(t, c.URL())
		last := kept(s)
		if kept(s) != last {
			t.Error("it changes by itself")
		}
		for i, server := range c.Servers {
			if _, err := server.CLI("flushall"); err != nil {
				t.Fatal(err)
			}
			now := kept(s)
			if now == last {
				t.Errorf("master %d was emptied, and nothing has changed", i)
			}
			last = now
		}
	})
}
