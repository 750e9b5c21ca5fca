package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

const lounge = "channels/lounge"

// told is a change of a presence event, and when it was read.
type told struct {
	Kind      string
	Reason    string
	Member    struct{ Client, Connection string }
	EventTime time.Time
	read      time.Time
}

func (e told) String() string {
	return strings.TrimSpace(e.Kind + " " + e.Member.Client + " " + e.Reason)
}

// guest is a connection that is in the lounge, and is told who comes and goes.
type guest struct {
	ws *websocket.Conn

	mu     sync.Mutex
	events []told
}

// enter connects a client to an edge, into the lounge.
func (s *system) enter(client string, edge int) *guest {
	s.tb.Helper()
	token, err := s.issuer().IssueToken(s.tb.Context(), &authv1.IssueTokenRequest{Client: client, User: client, Grants: []*authv1.Grant{{
		Address: lounge, Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PRESENCE},
	}}})
	testkit.Check(s.tb, err)
	ws, resp, err := peerDialer.Dial("ws://"+s.edgeAt[edge]+"/v1/ws", nil)
	testkit.Check(s.tb, err)
	_ = resp.Body.Close()
	g := &guest{ws: ws}
	testkit.Check(s.tb, ws.WriteJSON(map[string]any{"id": 1, "connect": map[string]any{
		"token": token.GetToken(), "subscriptions": []any{map[string]any{"address": lounge, "presence": true}},
	}}))
	var first struct{ Connected json.RawMessage }
	testkit.Check(s.tb, ws.ReadJSON(&first))
	if !strings.Contains(string(first.Connected), `"subscribed"`) {
		s.tb.Fatalf("connect was answered with %s", first.Connected)
	}
	var reading sync.WaitGroup
	reading.Go(g.read)
	s.tb.Cleanup(func() { _ = ws.Close(); reading.Wait() })
	return g
}

func (g *guest) read() {
	for {
		var f struct{ PresenceEvent struct{ Changes []told } }
		if err := g.ws.ReadJSON(&f); err != nil {
			return
		}
		g.mu.Lock()
		for _, change := range f.PresenceEvent.Changes {
			change.read = time.Now()
			g.events = append(g.events, change)
		}
		g.mu.Unlock()
	}
}

// heard returns the events about a client.
func (g *guest) heard(client string) []told {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []told
	for _, e := range g.events {
		if e.Member.Client == client {
			all = append(all, e)
		}
	}
	return all
}

// members returns the connections of each client, as a back end reads them, page by page.
func (s *system) members() (clients map[string]int, total int) {
	s.tb.Helper()
	channels := publishv1.NewChannelServiceClient(apptest.Dial(s.tb, s.publishAt, s.apiKey))
	clients = map[string]int{}
	for page := ""; ; {
		resp, err := channels.ListMembers(s.tb.Context(), &publishv1.ListMembersRequest{Address: lounge, PageSize: 50, PageToken: page})
		testkit.Check(s.tb, err)
		for _, m := range resp.GetMembers() {
			clients[m.GetClient()]++
		}
		if page = resp.GetNextPageToken(); page == "" {
			return clients, int(resp.GetTotalSize())
		}
	}
}

// An edge is killed. The clients that do not come back leave within 30 s, once, and are listed no more. Their leave carries the
// time at which their edge was last heard of. A client that is back on the other edge within 10 s, or was there all along, has
// never left.
func TestPresence_ofAKilledEdge(t *testing.T) {
	s := startSystem(t)
	watcher := s.enter("watcher", 0)
	const ghosts = 120 // more than a page
	for i := range ghosts {
		s.enter(fmt.Sprint("ghost-", i), 1)
	}
	s.enter("quick", 1)
	s.enter("slow", 1)
	s.enter("both", 1)
	s.enter("both", 0)
	testkit.Within(t, "everybody is in", 20*time.Second, func() bool {
		clients, total := s.members()
		return len(clients) == ghosts+4 && total == ghosts+5 && len(watcher.heard(fmt.Sprint("ghost-", ghosts-1))) == 1
	})

	killed := time.Now()
	testkit.Check(t, syscall.Kill(s.edges[1].cmd.Process.Pid, syscall.SIGKILL))
	_ = s.edges[1].end(syscall.SIGKILL)
	s.enter("quick", 0)
	back := time.NewTimer(time.Until(killed.Add(9 * time.Second)))
	defer back.Stop()
	<-back.C
	s.enter("slow", 0)
	left := func() int {
		n := 0
		for i := range ghosts {
			n += len(watcher.heard(fmt.Sprint("ghost-", i))) - 1
		}
		return n
	}
	testkit.Within(t, "the ghosts leave", time.Until(killed.Add(30*time.Second)), func() bool { return left() >= ghosts })
	gone := time.Since(killed)
	clients, total := s.members()
	if len(clients) != 4 || total != 5-1 || clients["both"] != 1 || clients["quick"] != 1 || clients["slow"] != 1 {
		t.Errorf("%d are listed, of %d: %v", len(clients), total, clients)
	}
	var first, last time.Duration
	for i := range ghosts {
		events := watcher.heard(fmt.Sprint("ghost-", i))
		if len(events) != 2 || events[1].String() != fmt.Sprintf("KIND_LEFT ghost-%d node_lost", i) {
			t.Errorf("events are %v", events)
			continue
		}
		after, said := events[1].read.Sub(killed), events[1].EventTime.Sub(killed)
		if i == 0 || after < first {
			first = after
		}
		last = max(last, after)
		// A beat comes every 5 s at most: the edge was heard of no longer ago than that.
		if said > time.Second || said < -6*time.Second {
			t.Errorf("ghost-%d left %s after the kill, says its event", i, said)
		}
	}
	t.Logf("%d leaves came %s to %s after the kill, and none was listed after %s", ghosts, first.Round(time.Millisecond), last.Round(time.Millisecond), gone.Round(time.Millisecond))

	// Beyond the time at which anybody could still be taken for lost.
	late := s.enter("late", 0)
	quiet := time.NewTimer(time.Until(killed.Add(31 * time.Second)))
	defer quiet.Stop()
	<-quiet.C
	for _, name := range []string{"watcher", "quick", "slow", "both"} {
		if events := watcher.heard(name); len(events) != 1 || events[0].String() != "KIND_JOINED "+name {
			t.Errorf("%s: events are %v", name, events)
		}
	}
	if clients, total = s.members(); len(clients) != 5 || total != 5 || left() != ghosts {
		t.Errorf("%d are listed, of %d: %v; %d left", len(clients), total, clients, left())
	}
	late.mu.Lock()
	defer late.mu.Unlock()
	if len(late.events) != 1 {
		t.Errorf("who came late was told %v", late.events)
	}
}

// An edge with a name of its own is killed and is back at once, under the same name. Its clients are not.
func TestPresence_ofARestartedEdge(t *testing.T) {
	s := startSystem(t)
	testkit.Check(t, s.edges[1].end(syscall.SIGTERM))
	s.edges[1].env = append(s.edges[1].env, "TRUNKLINE_NODE=edge-b")
	s.edges[1].start()
	s.waitReady(s.edges[1])
	watcher := s.enter("watcher", 0)
	s.enter("ghost", 1)
	s.enter("loyal", 1)
	testkit.Within(t, "both are in", 20*time.Second, func() bool { return len(watcher.heard("ghost"))+len(watcher.heard("loyal")) == 2 })
	killed := time.Now()
	_ = s.edges[1].end(syscall.SIGKILL)
	s.edges[1].start()
	s.waitReady(s.edges[1])
	s.enter("loyal", 1)
	testkit.Within(t, "the ghost leaves", time.Until(killed.Add(30*time.Second)), func() bool { return len(watcher.heard("ghost")) == 2 })
	t.Logf("it left %s after the kill: %v", time.Since(killed).Round(time.Millisecond), watcher.heard("ghost"))
	testkit.Within(t, "the ghost is not listed", 5*time.Second, func() bool {
		clients, total := s.members()
		return len(clients) == 2 && total == 2 && clients["loyal"] == 1
	})
	if events := watcher.heard("loyal"); len(events) != 1 {
		t.Errorf("who came back was told of as %v", events)
	}
}
