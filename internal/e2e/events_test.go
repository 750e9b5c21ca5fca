package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
)

// When an edge is killed, its clients are told to have disconnected, each once, at the time of the kill; and the channel
// that only they were in is told to be vacated.
func TestEvents_edgeIsKilled(t *testing.T) {
	const clients = 20
	t.Setenv("TRUNKLINE_HOOKS_EVENTS_ENABLED", "true") // of every process
	s := startSystem(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	stream, err := hooksv1.NewEventServiceClient(apptest.Dial(t, s.publishAt, s.apiKey)).WatchEvents(ctx, &hooksv1.WatchEventsRequest{FromBeginning: true})
	check(t, err)
	next := func() *hooksv1.Event {
		t.Helper()
		for {
			r, err := stream.Recv()
			check(t, err)
			if r.GetGap() != nil {
				t.Fatalf("gap: %v", r)
			}
			if e := r.GetEvent(); e != nil {
				return e
			}
		}
	}
	run, leave := context.WithCancel(t.Context())
	ended := make(chan error, clients)
	for i := range clients {
		connectOne(t, s, run, fmt.Sprint("client", i), ended)
	}
	stay := connectTo(t, s, run, s.edgeAt[1], "stays", ended)
	check(t, stay.Ping(t.Context()))
	open := map[string]string{} // client by connection
	occupied := 0
	for len(open) < clients+1 || occupied == 0 {
		switch e := next(); e.GetKind() {
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
		e := next()
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

// connectOne connects a client to the first edge, in the channel that only they are in.
func connectOne(t *testing.T, s *system, ctx context.Context, name string, ended chan<- error) { //nolint:revive // t first, as everywhere
	t.Helper()
	c := connectTo(t, s, ctx, s.edgeAt[0], name, ended)
	_, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/room:1"})
	check(t, err)
}

func connectTo(t *testing.T, s *system, ctx context.Context, edge, name string, ended chan<- error) *client.Client { //nolint:revive // t first, as everywhere
	t.Helper()
	token := s.token(&authv1.IssueTokenRequest{Client: name})
	c, err := client.New(client.Config{
		URL: "http://" + edge, Token: func(context.Context) (string, error) { return token, nil },
		MinBackoff: time.Minute, MaxBackoff: time.Minute,
	})
	check(t, err)
	go func() { ended <- c.Run(ctx) }()
	return c
}
