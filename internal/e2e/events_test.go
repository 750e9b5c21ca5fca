package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// watched is a stream of events.
type watched struct {
	tb     testing.TB
	stream grpc.ServerStreamingClient[hooksv1.WatchEventsResponse]
}

func watchEvents(t *testing.T, s *system) *watched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	stream, err := hooksv1.NewEventServiceClient(apptest.Dial(t, s.publishAt, s.apiKey)).WatchEvents(ctx, &hooksv1.WatchEventsRequest{FromBeginning: true})
	testkit.Check(t, err)
	return &watched{t, stream}
}

func (w *watched) next() *hooksv1.Event {
	w.tb.Helper()
	for {
		r, err := w.stream.Recv()
		testkit.Check(w.tb, err)
		if r.GetGap() != nil {
			w.tb.Fatalf("gap: %v", r)
		}
		if e := r.GetEvent(); e != nil {
			return e
		}
	}
}

// When an edge is killed, its clients are reported as disconnected, each once, at the time of the kill. The channel that only
// they were in is reported as vacated.
func TestEvents_edgeIsKilled(t *testing.T) {
	const clients = 20
	t.Setenv("TRUNKLINE_HOOKS_EVENTS_ENABLED", "true") // of every process
	s := startSystem(t)
	w := watchEvents(t, s)
	run, leave := context.WithCancel(t.Context())
	ended := make(chan error, clients)
	for i := range clients {
		connectOne(t, s, run, fmt.Sprint("client", i), ended)
	}
	stay := connectTo(t, s, run, s.edgeAt[1], "stays", ended)
	testkit.Check(t, stay.Ping(t.Context()))
	open := map[string]string{} // client by connection
	occupied := 0
	for len(open) < clients+1 || occupied == 0 {
		switch e := w.next(); e.GetKind() {
		case hooksv1.EventKind_EVENT_KIND_CONNECTED:
			open[e.GetConnection()] = e.GetClient()
		case hooksv1.EventKind_EVENT_KIND_OCCUPIED:
			occupied++
		default:
			t.Fatalf("event is %v", e)
		}
	}
	before := time.Now()
	_ = s.edges[0].end(syscall.SIGKILL)
	killed := time.Now()
	leave() // nobody comes back
	lost := map[string]int{}
	vacated := 0
	for len(lost) < clients || vacated == 0 {
		e := w.next()
		at := e.GetTime().AsTime()
		if e.GetClient() == "stays" {
			continue // it has left
		}
		if e.GetReason() != "node_lost" || at.After(killed.Add(time.Second)) || at.Before(before.Add(-2500*time.Millisecond)) && e.GetKind() == hooksv1.EventKind_EVENT_KIND_DISCONNECTED {
			t.Errorf("event is %v, %v after the kill", e, at.Sub(killed))
		}
		switch e.GetKind() {
		case hooksv1.EventKind_EVENT_KIND_DISCONNECTED:
			if open[e.GetConnection()] != e.GetClient() {
				t.Errorf("event is of somebody else: %v", e)
			}
			lost[e.GetConnection()]++
			if len(lost) == 1 {
				t.Logf("told %v after the kill, as of %v before it", time.Since(killed), killed.Sub(at))
			}
		case hooksv1.EventKind_EVENT_KIND_VACATED:
			vacated++
		default:
			t.Errorf("event is %v", e)
		}
	}
	for id, n := range lost {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	for range clients + 1 {
		if err := <-ended; err != nil {
			t.Logf("a client ended with: %v", err)
		}
	}
	if n := len(ended); n != 0 {
		t.Errorf("%d more clients", n)
	}
	if code, _ := get(s.rest + "/v1/events"); code != http.StatusUnauthorized {
		t.Errorf("without a key the status is %d", code)
	}
}

// An edge of a fixed name that is killed and starts again at once takes what it has left behind for another's. The clients that
// do not come back are reported as disconnected, and their channel as vacated.
func TestEvents_edgeStartsAgain(t *testing.T) {
	t.Setenv("TRUNKLINE_HOOKS_EVENTS_ENABLED", "true") // of every process
	s := startSystem(t, func(s *system) { s.edgeArgs = []string{"--set", "node=the-edge"} })
	w := watchEvents(t, s)
	run, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	connectOne(t, s, run, "ada", ended)
	for w.next().GetKind() != hooksv1.EventKind_EVENT_KIND_OCCUPIED {
	}
	_ = s.edges[0].end(syscall.SIGKILL)
	killed := time.Now()
	leave()
	if err := <-ended; err != nil {
		t.Logf("the client ended with: %v", err)
	}
	s.edges[0].start()
	s.waitReady(s.edges[0])
	if d := time.Since(killed); d > bus.NodeTTL {
		t.Fatalf("the edge is back after %v, which proves nothing", d)
	}
	kinds := map[hooksv1.EventKind]int{}
	for range 2 {
		e := w.next()
		kinds[e.GetKind()]++
		if e.GetReason() != "node_lost" || e.GetTime().AsTime().After(killed.Add(time.Second)) {
			t.Errorf("event is %v", e)
		}
	}
	if kinds[hooksv1.EventKind_EVENT_KIND_DISCONNECTED] != 1 || kinds[hooksv1.EventKind_EVENT_KIND_VACATED] != 1 {
		t.Errorf("kinds are %v", kinds)
	}
	if members := s.cli("presence", "room:1", "-o", "json"); strings.Contains(members, "ada") {
		t.Errorf("members are %s", members)
	}
}

// connectOne connects a client to the first edge, in the channel that only they are in.
func connectOne(t *testing.T, s *system, ctx context.Context, name string, ended chan<- error) { //nolint:revive // t first, as everywhere
	t.Helper()
	c := connectTo(t, s, ctx, s.edgeAt[0], name, ended)
	_, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/room:1"})
	testkit.Check(t, err)
}

func connectTo(t *testing.T, s *system, ctx context.Context, edge, name string, ended chan<- error) *client.Client { //nolint:revive // t first, as everywhere
	t.Helper()
	token := s.token(&authv1.IssueTokenRequest{Client: name})
	c, err := client.New(client.Config{
		URL: "http://" + edge, Token: func(context.Context) (string, error) { return token, nil },
		MinBackoff: time.Minute, MaxBackoff: time.Minute,
	})
	testkit.Check(t, err)
	go func() { ended <- c.Run(ctx) }()
	return c
}
