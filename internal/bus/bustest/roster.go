package bustest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testRoster(t *testing.T, open Open) {
	s := open(t)
	node := "node-" + uuid.NewString()
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: node, Roles: []string{"edge"}, Version: "1", Started: time.Now()}))
	t.Run("members come and go", func(t *testing.T) { testMembers(t, s, node) })
	t.Run("events are per client", func(t *testing.T) { testPresenceEvents(t, s, node) })
	t.Run("who is back in time never left", func(t *testing.T) { testLostAndBack(t, s, node) })
	t.Run("who does not come back has left once", func(t *testing.T) { testLost(t, s, node) })
	t.Run("members of a dead node leave once", func(t *testing.T) { testNodeDeath(t, s, node) })
	t.Run("a node that was taken for dead is told", func(t *testing.T) { testKept(t, s, node) })
	t.Run("nobody is dead when nobody was heard of", func(t *testing.T) { testAway(t, s, node) })
	t.Run("a client on a dead node and a living one stays", func(t *testing.T) { testNodeChange(t, s, node) })
	t.Run("many join and leave at once", func(t *testing.T) { testCrowd(t, s, node) })
	t.Run("pages stay whole while others come and go", func(t *testing.T) { testMemberPages(t, s, node) })
	t.Run("a node that is gone is not listed", func(t *testing.T) { testGone(t, s, node) })
}

func member(connection, client, node string) bus.Member {
	return bus.Member{Connection: connection, Client: client, User: "u", Node: node, Joined: time.Now().Truncate(time.Millisecond)}
}

func members(tb testing.TB, s bus.Store, a bus.Address) string {
	tb.Helper()
	page, err := s.Members(tb.Context(), a, "", 1000)
	testkit.Check(tb, err)
	var all []string
	for _, m := range page.Members {
		all = append(all, m.Connection)
	}
	if page.Total != len(all) {
		tb.Errorf("total is %d of %q", page.Total, all)
	}
	return strings.Join(all, " ")
}

func testMembers(t *testing.T, s bus.Store, node string) {
	a, empty := address(t), address(t)
	for i := range 5 {
		testkit.Check(t, s.Join(t.Context(), a, member(fmt.Sprint(i), "c", node)))
	}
	missing, err := s.Touch(t.Context(), node, []bus.Address{a, empty})
	testkit.Check(t, err)
	if len(missing) != 1 || missing[0] != empty {
		t.Errorf("missing are %v", missing)
	}
	page, err := s.Members(t.Context(), a, "", 3)
	testkit.Check(t, err)
	if len(page.Members) != 3 || !page.More || page.Total != 5 || page.Members[0].Client != "c" || page.Members[0].User != "u" {
		t.Fatalf("page is %+v", page)
	}
	page, err = s.Members(t.Context(), a, page.Members[2].Connection, 3)
	testkit.Check(t, err)
	if len(page.Members) != 2 || page.More || page.Members[1].Connection != "4" || page.Members[1].Node != node || page.Total != 5 {
		t.Fatalf("page is %+v", page)
	}
	testkit.Check(t, s.Leave(t.Context(), a, "0"))
	testkit.Check(t, s.Leave(t.Context(), a, "0"))
	if got := members(t, s, a); got != "1 2 3 4" {
		t.Errorf("members are %s", got)
	}
	testkit.Check(t, s.Join(t.Context(), a, member("5", "other", node)))
	testkit.Check(t, s.Leave(t.Context(), a, "5"))
	for client, want := range map[string]bool{"c": true, "other": false, "nobody": false} {
		if got, err := s.Listed(t.Context(), a, client); err != nil || got != want {
			t.Errorf("%s is listed: %t, %v", client, got, err)
		}
	}
	if got, err := s.Listed(t.Context(), empty, "c"); err != nil || got {
		t.Errorf("where nobody is, somebody is listed: %t, %v", got, err)
	}
}

// event returns the next one, and fails when it is not as said: "joined client connection" or "left reason client connection".
func (l *listener) event(want string) bus.PresenceEvent {
	l.tb.Helper()
	m := l.next()
	e, err := bus.PresenceOf(m)
	testkit.Check(l.tb, err)
	got := strings.Join(strings.Fields(fmt.Sprint(e.Kind, " ", e.Reason, " ", e.Member.Client, " ", e.Member.Connection)), " ")
	if got != want || !m.Position.IsZero() {
		l.tb.Fatalf("event is %q at %v, want %q", got, m.Position, want)
	}
	return e
}

func testPresenceEvents(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := listen(t, s, a)
	first := member("1", `ada "ü"`, node)
	testkit.Check(t, s.Join(t.Context(), a, first))
	testkit.Check(t, s.Join(t.Context(), a, first))
	testkit.Check(t, s.Join(t.Context(), a, member("2", `ada "ü"`, node)))
	testkit.Check(t, s.Join(t.Context(), a, member("3", "bob", node)))
	e := l.event(`joined ada "ü" 1`)
	if !e.Time().Equal(first.Joined) || e.Member.User != "u" || e.Member.Node != node || !e.Member.Joined.Equal(first.Joined) {
		t.Errorf("event is %+v, joined %v", e, first.Joined)
	}
	if second := l.event("joined bob 3"); e.Clients != 1 || second.Clients != 2 {
		t.Errorf("there are %d clients, and then %d", e.Clients, second.Clients)
	}
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	testkit.Check(t, s.Leave(t.Context(), a, "1"))
	testkit.Check(t, s.Leave(t.Context(), a, "3"))
	if e = l.event("left left bob 3"); e.Clients != 1 {
		t.Errorf("there are %d clients after one of two has left", e.Clients)
	}
	before := time.Now()
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	e = l.event(`left left ada "ü" 2`)
	if d := e.Time().Sub(before); d < -2*time.Second || d > 2*time.Second {
		t.Errorf("event is %v after it happened", d)
	}
	if got := members(t, s, a); got != "" {
		t.Errorf("members are %s", got)
	}
}

func testLostAndBack(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := listen(t, s, a)
	testkit.Check(t, s.Join(t.Context(), a, member("1", "ada", node)))
	testkit.Check(t, s.Join(t.Context(), a, member("3", "bob", node)))
	testkit.Check(t, s.Lose(t.Context(), a, "1", time.Now(), 300*time.Millisecond))
	testkit.Check(t, s.Lose(t.Context(), a, "3", time.Now(), 300*time.Millisecond))
	testkit.Check(t, s.Join(t.Context(), a, member("2", "ada", "another")))
	testkit.Check(t, s.Join(t.Context(), a, member("3", "bob", node))) // the same connection, found again
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "another"}))
	reap(t, s, node, bus.NodeTTL, func() bool { return members(t, s, a) == "2 3" })
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	l.event("joined ada 1")
	l.event("joined bob 3")
	l.event("left left ada 2")
}

func testLost(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := listen(t, s, a)
	at := time.Now().Add(-100 * time.Millisecond)
	for _, c := range []string{"1", "2"} {
		testkit.Check(t, s.Join(t.Context(), a, member(c, "ada", node)))
		testkit.Check(t, s.Lose(t.Context(), a, c, at, 400*time.Millisecond))
	}
	testkit.Check(t, s.Lose(t.Context(), a, "unknown", at, 0))
	if got := members(t, s, a); got != "1 2" {
		t.Errorf("members are %s", got)
	}
	reap(t, s, node, bus.NodeTTL, func() bool { return members(t, s, a) == "" })
	testkit.Check(t, s.Join(t.Context(), a, member("4", "ada", node)))
	l.event("joined ada 1")
	e, err := bus.PresenceOf(l.next())
	testkit.Check(t, err)
	if e.Kind != bus.PresenceLeft || e.Reason != bus.LeftLost || e.Member.Client != "ada" {
		t.Errorf("event is %+v", e)
	}
	if d := e.Time().Sub(at); d < -50*time.Millisecond || d > 200*time.Millisecond {
		t.Errorf("the event is %v after the loss", d)
	}
	l.event("joined ada 4")
}

func testNodeDeath(t *testing.T, s bus.Store, node string) {
	const n = 450 // more than one script removes
	a, b := address(t), address(t)
	l := listen(t, s, a, b)
	dead := "node-" + uuid.NewString()
	testkit.Check(t, s.Join(t.Context(), a, member("z", "alive", node)))
	for i := range n {
		testkit.Check(t, s.Join(t.Context(), a, member(fmt.Sprintf("%03d", i), fmt.Sprint("client", i), dead)))
	}
	testkit.Check(t, s.Join(t.Context(), b, member("x", "other", dead)))
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: dead}))
	heard := time.Now()
	const silent = 1500 * time.Millisecond
	reap(t, s, node, silent, func() bool { return members(t, s, a) == "z" && members(t, s, b) == "" })
	if d := time.Since(heard); d < silent {
		t.Errorf("they were removed after %v", d)
	}
	testkit.Check(t, s.Leave(t.Context(), a, "z"))
	testkit.Check(t, s.Join(t.Context(), b, member("y", "last", node)))
	left := make(map[string]int)
	for range n + 2 { // the members that joined
		l.next()
	}
	for {
		e, err := bus.PresenceOf(l.next())
		testkit.Check(t, err)
		if e.Member.Client == "last" {
			break
		}
		left[e.Member.Client]++
		if e.Member.Client == "alive" {
			continue
		}
		if e.Kind != bus.PresenceLeft || e.Reason != bus.LeftNode {
			t.Fatalf("event is %+v", e)
		}
		if d := e.Time().Sub(heard); d < -2*time.Second || d > 100*time.Millisecond {
			t.Errorf("the event is %v after the node was heard of", d)
		}
	}
	for client, times := range left {
		if times != 1 {
			t.Errorf("%s left %d times", client, times)
		}
	}
	// Both addresses have their own order: everything of b and a has come when the last of each has.
	if want := n + 2; len(left) != want {
		testkit.Eventually(t, fmt.Sprintf("all %d have left", want), func() bool {
			e, err := bus.PresenceOf(l.next())
			testkit.Check(t, err)
			left[e.Member.Client]++
			return len(left) == want
		})
	}
}

func testAway(t *testing.T, s bus.Store, node string) {
	a := address(t)
	other := "node-" + uuid.NewString()
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: other}))
	testkit.Check(t, s.Join(t.Context(), a, member("1", "ada", other)))
	const silent = 100 * time.Millisecond
	away := time.NewTimer(3 * silent)
	defer away.Stop()
	<-away.C
	for range 3 {
		_, err := s.Reap(t.Context(), silent)
		testkit.Check(t, err)
	}
	if got := members(t, s, a); got != "1" {
		t.Errorf("members are %q", got)
	}
	reap(t, s, node, silent, func() bool { return members(t, s, a) == "" }) // which is heard of
}

func testNodeChange(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := listen(t, s, a)
	dead := "node-" + uuid.NewString()
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: dead}))
	testkit.Check(t, s.Join(t.Context(), a, member("1", "ada", dead)))
	testkit.Check(t, s.Join(t.Context(), a, member("2", "ada", node)))
	if got := members(t, s, a); got != "1 2" {
		t.Errorf("members are %s", got)
	}
	reap(t, s, node, time.Second, func() bool { return members(t, s, a) == "2" })
	testkit.Check(t, s.Leave(t.Context(), a, "2"))
	l.event("joined ada 1")
	l.event("left left ada 2")
}

func testCrowd(t *testing.T, s bus.Store, node string) {
	a := address(t)
	l := listen(t, s, a)
	const clients, rounds = 4, 25
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := range rounds {
				m := member(fmt.Sprintf("%d-%d", i, n), fmt.Sprint("client", i%clients), node)
				if err := s.Join(t.Context(), a, m); err != nil {
					t.Error(err)
				}
				if err := s.Leave(t.Context(), a, m.Connection); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := members(t, s, a); got != "" {
		t.Errorf("members are %s", got)
	}
	testkit.Check(t, s.Join(t.Context(), a, member("last", "last", node)))
	there := make(map[string]bool)
	events := 0
	for ; ; events++ {
		e, err := bus.PresenceOf(l.next())
		testkit.Check(t, err)
		c := e.Member.Client
		if c == "last" {
			break
		}
		if there[c] == (e.Kind == bus.PresenceJoined) {
			t.Fatalf("%s %s and was there: %v", c, e.Kind, there[c])
		}
		there[c] = !there[c]
	}
	for c, is := range there {
		if is {
			t.Errorf("%s is said to be there", c)
		}
	}
	if len(there) != clients || events < 2*clients {
		t.Errorf("%d events of %d clients", events, len(there))
	}
}

func testMemberPages(t *testing.T, s bus.Store, node string) {
	a := address(t)
	const stay, size = 400, 30
	for i := range stay {
		testkit.Check(t, s.Join(t.Context(), a, member(fmt.Sprintf("%04d", i), "c", node)))
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for w := range 4 {
		others.Go(func() {
			for i := w; ; i += 4 {
				select {
				case <-stop:
					return
				default:
				}
				m := member(fmt.Sprintf("%04d-x", i*37%stay), "x", node)
				if err := s.Join(t.Context(), a, m); err != nil {
					t.Error(err)
				}
				if err := s.Leave(t.Context(), a, m.Connection); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer others.Wait()
	defer close(stop)
	for range 5 {
		seen, after := 0, ""
		for more := true; more; {
			page, err := s.Members(t.Context(), a, after, size)
			testkit.Check(t, err)
			if len(page.Members) > size || page.Total < stay || page.Total > stay+4 {
				t.Fatalf("%d members of %d", len(page.Members), page.Total)
			}
			for _, m := range page.Members {
				if m.Connection <= after {
					t.Fatalf("%s comes after %s", m.Connection, after)
				}
				after = m.Connection
				if m.Client == "c" {
					if m.Connection != fmt.Sprintf("%04d", seen) {
						t.Fatalf("%s is not number %d", m.Connection, seen)
					}
					seen++
				}
			}
			more = page.More
		}
		if seen != stay {
			t.Fatalf("saw %d of %d", seen, stay)
		}
	}
}

func testGone(t *testing.T, s bus.Store, node string) {
	gone := "node-" + uuid.NewString()
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: gone}))
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: node, Roles: []string{"edge"}, Version: "1"}))
	testkit.Check(t, s.Gone(t.Context(), gone))
	nodes, err := s.Nodes(t.Context())
	testkit.Check(t, err)
	alive := false
	for _, n := range nodes {
		if n.Life == gone {
			t.Error("the node is listed")
		}
		alive = alive || n.Life == node && n.Version == "1" && n.Roles[0] == "edge"
	}
	if !alive {
		t.Errorf("the living node is not in %+v", nodes)
	}
}
