package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// An event that was noted by somebody who died before telling is told by the next one who looks, in its order, and once.
func TestEvents_notedAndNotTold(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	join := func(a bus.Address, connection, node string) {
		t.Helper()
		if err := s.Join(t.Context(), a, bus.Member{Connection: connection, Client: "ada", Node: node, Joined: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(a bus.Address, connection string) {
		t.Helper()
		if err := s.Leave(t.Context(), a, connection); err != nil {
			t.Fatal(err)
		}
	}
	note := func(a bus.Address, id, kind string) {
		t.Helper()
		out, err := server.CLI("rpush", "tl:{"+a.String()+"}:ru", `{"id":"`+id+`","kind":"`+kind+`","at":1}`)
		if err != nil {
			t.Fatal(out, err)
		}
	}
	told := func(a bus.Address) string {
		t.Helper()
		page, err := s.Since(t.Context(), bus.EventLog, bustest.Events, bus.Position{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, m := range page.Messages {
			if e, err := bus.EventOf(m); err == nil && e.Address == a.String() {
				all = append(all, string(e.Kind)+" "+e.Reason)
			}
		}
		return strings.Join(all, ", ")
	}
	t.Run("by a join or a leave", func(t *testing.T) {
		a := address(t, "channels/next")
		join(a, "1", "node")
		note(a, "evt_a", "vacated")
		note(a, "evt_b", "occupied")
		note(a, "evt_a", "vacated") // told already, and not forgotten
		leave(a, "1")
		leave(a, "1")
		if got := told(a); got != "occupied , vacated , occupied , vacated left" {
			t.Errorf("events are %s", got)
		}
	})
	t.Run("by a reap of its node", func(t *testing.T) {
		a := address(t, "channels/dead")
		if err := s.Beat(t.Context(), bus.Node{Life: "dead"}); err != nil {
			t.Fatal(err)
		}
		join(a, "1", "dead")
		leave(a, "1")
		note(a, "evt_c", "occupied")
		testkit.Eventually(t, "it is told", func() bool {
			if err := s.Beat(t.Context(), bus.Node{Life: "living"}); err != nil { // somebody has to be, or the store was away
				t.Fatal(err)
			}
			if _, err := s.Reap(t.Context(), 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			return told(a) != "occupied , vacated left"
		})
		if got := told(a); got != "occupied , vacated left, occupied " {
			t.Errorf("events are %s", got)
		}
	})
	t.Run("because the log was away, by a reap", func(t *testing.T) {
		a := address(t, "channels/away")
		cli := func(args ...string) {
			t.Helper()
			if out, err := server.CLI(args...); err != nil {
				t.Fatal(out, err)
			}
		}
		cli("rename", "tl:{system/events}:m", "tl:{system/events}:aside")
		cli("set", "tl:{system/events}:m", "no hash", "EX", "60")
		join(a, "1", "node")
		leave(a, "1")
		cli("rename", "tl:{system/events}:aside", "tl:{system/events}:m")
		testkit.Eventually(t, "it is told", func() bool {
			if _, err := s.Reap(t.Context(), bus.NodeTTL); err != nil {
				t.Fatal(err)
			}
			return told(a) != ""
		})
		if got := told(a); got != "occupied , vacated left" {
			t.Errorf("events are %s", got)
		}
	})
	t.Run("and nothing of it stays for ever", func(t *testing.T) {
		if err := s.Opened(t.Context(), "run~1", []bus.Connection{{ID: "c"}}); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is dead", func() bool {
			_, err := s.Reap(t.Context(), 50*time.Millisecond)
			return err == nil
		})
		if _, _, err := s.Claim(t.Context(), "cursor", "me", time.Second); err != nil {
			t.Fatal(err)
		}
		if err := s.Opened(t.Context(), "run~2", []bus.Connection{{ID: "c"}}); err != nil {
			t.Fatal(err)
		}
		keys, err := server.CLI("keys", "*")
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(keys) {
			if ttl, err := server.CLI("ttl", name); err != nil || strings.HasPrefix(ttl, "-") {
				t.Errorf("%s has the lifetime %s", name, ttl)
			}
		}
		if !strings.Contains(keys, "{connections:run~2}") || !strings.Contains(keys, "{cursor:cursor}") {
			t.Errorf("keys are %s", keys)
		}
	})
}
