package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// homes returns an address on each master of a cluster.
func homes(t *testing.T, c *redistest.Cluster, publish func(bus.Address)) []bus.Address {
	t.Helper()
	found := make([]bus.Address, len(c.Servers))
	for i, left := 0, len(found); left > 0; i++ {
		a := address(t, fmt.Sprintf("channels/home:%d", i))
		publish(a)
		for j, s := range c.Servers {
			if out, _ := s.CLI("exists", "tl:{"+a.String()+"}:m"); strings.TrimSpace(out) == "1" && found[j].IsZero() {
				found[j] = a
				left--
			}
		}
	}
	return found
}

// One of three masters is killed. Its slots are served again by its replica, the same feed goes on, and readiness was red. What
// was OK at REPLICATED(1) is there, and the other masters' slots never notice.
func TestCluster_losesANode(t *testing.T) {
	c := redistest.StartCluster(t)
	c.AddReplicas()
	s := open(t, c.URL())
	n := 0
	publish := func(a bus.Address, durability bus.Durability) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n++
		p := replicated(a, fmt.Sprint("n", n), 1)
		if p.Durability = durability; durability == 0 {
			p.Replicas = 0
		}
		_, err := s.Publish(ctx, bustest.Admit(p))
		return err
	}
	testkit.Eventually(t, "replicas acknowledge", func() bool { return publish(address(t, "channels/first"), bus.Replicated) == nil })
	addresses := homes(t, c, func(a bus.Address) { testkit.Check(t, publish(a, 0)) })
	r, f := follow(t, s, addresses[0])
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	testkit.Check(t, f.Subscribe(ctx, addresses...))
	first := n + 1
	for range 200 {
		for _, a := range addresses {
			testkit.Check(t, publish(a, bus.Replicated))
		}
	}
	last := n
	drain(r)

	killed := time.Now()
	c.Servers[0].Kill9()
	others, red := 0, false
	var back time.Duration
	for back == 0 {
		for _, a := range addresses[1:] {
			if err := publish(a, 0); err != nil {
				others++
				t.Logf("another master's slot: %v", err)
			}
		}
		red = red || f.Ready() != nil
		if publish(addresses[0], 0) == nil {
			back = time.Since(killed)
		}
		if time.Since(killed) > 20*time.Second {
			t.Fatal("the slots of the killed master do not come back")
		}
	}
	drain(r)
	delivered := arrives(t, s, r, addresses[0])
	t.Logf("after the kill: publishing to its slots again after %s, delivery %s later; %d errors on other slots", back, delivered, others)
	testkit.Eventually(t, "the feed is ready again", func() bool { return f.Ready() == nil })
	if others > 0 || !red {
		t.Errorf("%d publishes to other masters failed; readiness was red: %t", others, red)
	}
	for _, a := range addresses {
		kept := map[string]bool{}
		for at, more := (bus.Position{}), true; more; {
			page, err := s.Since(t.Context(), a, bus.Retention{Length: 100_000, Age: time.Hour}, at, 1000)
			testkit.Check(t, err)
			for _, m := range page.Messages {
				kept[m.ID] = true
			}
			at, more = page.Next, page.More
		}
		for i := first; i <= last; i++ {
			if id := fmt.Sprint("n", i); (i-first)%len(addresses) == index(addresses, a) && !kept[id] {
				t.Errorf("%s lost %s, which was OK", a, id)
			}
		}
	}
}

func index(all []bus.Address, a bus.Address) int {
	for i := range all {
		if all[i] == a {
			return i
		}
	}
	return -1
}
