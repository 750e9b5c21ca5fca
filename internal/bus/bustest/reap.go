package bustest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// reap reaps, from several nodes at once, until ok.
func reap(tb testing.TB, s bus.Store, node string, silent time.Duration, ok func() bool) {
	tb.Helper()
	testkit.Eventually(tb, "it is reaped", func() bool {
		testkit.Check(tb, s.Beat(tb.Context(), bus.Node{Life: node, Roles: []string{"edge"}, Version: "1"}))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := s.Reap(tb.Context(), silent); err != nil {
					tb.Error(err)
				}
			})
		}
		all.Wait()
		return ok()
	})
}

func testKept(t *testing.T, s bus.Store, node string) {
	a := address(t)
	dead := "node-" + uuid.NewString()
	kept := func(name string) string {
		text, err := s.Kept(t.Context(), name)
		testkit.Check(t, err)
		return text
	}
	mine, its := kept(node), kept(dead)
	testkit.Check(t, s.Join(t.Context(), a, member("1", "ada", node)))
	testkit.Check(t, s.Join(t.Context(), a, member("2", "bob", dead)))
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: dead}))
	testkit.Check(t, s.Leave(t.Context(), a, "unknown"))
	if kept(node) != mine || kept(dead) != its {
		t.Error("something was lost before anything happened")
	}
	reap(t, s, node, 1500*time.Millisecond, func() bool { return members(t, s, a) == "1" })
	if kept(node) != mine {
		t.Error("the living node is told that something was lost")
	}
	if kept(dead) == its {
		t.Error("the node is not told that it was taken for dead")
	}
}
