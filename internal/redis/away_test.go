package redis_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Redis was away, or refused writes, for longer than a node counts as alive. When it is back no living node is taken for dead
// because another one was first, and one that has died meanwhile is.
func TestReap_afterRedisWasAway(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/away")
	r, _ := follow(t, s, a)
	names := []string{"one", "two", "died"}
	for _, name := range names {
		testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: name}))
		testkit.Check(t, s.Join(t.Context(), a, bus.Member{Connection: name, Client: name, Node: name, Joined: time.Now()}))
		// What an hour of silence leaves behind.
		if out, err := server.CLI("zincrby", "tl:{nodes}:heard", "-3600000", name); err != nil {
			t.Fatal(out, err)
		}
	}
	listed := func(want string) {
		t.Helper()
		if _, err := s.Reap(t.Context(), bus.NodeTTL); err != nil {
			t.Error(err)
		}
		page, err := s.Members(t.Context(), a, "", 10)
		testkit.Check(t, err)
		var all []string
		for _, m := range page.Members {
			all = append(all, m.Connection)
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("members are %q, want %q", got, want)
		}
	}
	listed("died one two")
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "one"}))
	listed("died one two")
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "two"}))
	listed("died one two")
	out, err := server.CLI("get", "tl:{nodes}:truce")
	testkit.Check(t, err)
	until, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if d := time.Until(time.UnixMilli(until)); err != nil || d > bus.NodeTTL/2 || d < bus.NodeTTL/3 {
		t.Errorf("the truce lasts %s: %v", d, err)
	}
	if out, err := server.CLI("set", "tl:{nodes}:truce", "1", "keepttl"); err != nil { // in place of waiting for its end
		t.Fatal(out, err)
	}
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "one"}))
	listed("one two")
	for len(r.messages) > 0 {
		if e, err := bus.PresenceOf(<-r.messages); err == nil && e.Kind == bus.PresenceLeft && e.Member.Client != "died" {
			t.Errorf("event %+v", e)
		}
	}
}
