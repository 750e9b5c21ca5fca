package redis_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// A page of a crowded channel costs what the page costs, and nothing that a roster leaves in Redis stays for ever.
func TestRoster_crowd(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/crowd")
	const n, callers = 10_000, 20
	if err := s.Beat(t.Context(), bus.Node{Name: "node"}); err != nil {
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
