package events_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/events"
)

func TestWatchEvents_followsAndResumes(t *testing.T) {
	h := start(t, newStore(), on())
	h.write(bus.EventConnected, "before")
	now := h.watch(t.Context(), &hooksv1.WatchEventsRequest{})
	all := h.watch(t.Context(), &hooksv1.WatchEventsRequest{FromBeginning: true})
	ends := h.watch(t.Context(), &hooksv1.WatchEventsRequest{FromBeginning: true, Kinds: []hooksv1.EventKind{hooksv1.EventKind_EVENT_KIND_DISCONNECTED}})
	h.write(bus.EventConnected, "a")
	h.write(bus.EventDisconnected, "b")
	for _, tc := range []struct {
		s    stream
		want []string
	}{{now, []string{"a", "b"}}, {all, []string{"before", "a", "b"}}, {ends, []string{"b"}}} {
		for _, want := range tc.want {
			if e := tc.s.event(); e.GetConnection() != want || e.GetClient() != "c-"+want || e.GetId() != bus.EventID(want) {
				t.Fatalf("event is %v, want %s", e, want)
			}
		}
	}
	// Away while more comes, and back with the position of the last event.
	at := h.write(bus.EventOccupied, "c")
	for i := range 600 {
		h.write(bus.EventConnected, fmt.Sprint(i))
	}
	back := h.watch(t.Context(), &hooksv1.WatchEventsRequest{After: &publishv1.Position{Epoch: at.Epoch, Offset: at.Offset}})
	for i := range 600 {
		if e := back.event(); e.GetConnection() != fmt.Sprint(i) || e.GetPosition().GetOffset() != at.Offset+1+uint64(i) {
			t.Fatalf("event is %v, want %d", e, i)
		}
	}
}

func TestWatchEvents_tellsGaps(t *testing.T) {
	h := start(t, newStore(), on())
	first := h.write(bus.EventConnected, "first")
	for i := range keep.Length + 10 {
		h.write(bus.EventConnected, fmt.Sprint(i))
	}
	s := h.watch(t.Context(), &hooksv1.WatchEventsRequest{After: &publishv1.Position{Epoch: first.Epoch, Offset: first.Offset}})
	if g := s.next().GetGap(); g.GetReason() != string(bus.GapTrimmed) || g.GetAfter().GetOffset() != first.Offset || g.GetTo().GetOffset() != first.Offset+10 {
		t.Fatalf("gap is %v", g)
	}
	if e := s.event(); e.GetConnection() != "10" {
		t.Errorf("event is %v", e)
	}
	s = h.watch(t.Context(), &hooksv1.WatchEventsRequest{After: &publishv1.Position{Epoch: "another", Offset: 1}, Kinds: []hooksv1.EventKind{hooksv1.EventKind_EVENT_KIND_STORED}})
	if g := s.next().GetGap(); g.GetReason() != string(bus.GapEpoch) {
		t.Errorf("gap is %v", g)
	}
	e := bus.Event{ID: "g", Kind: bus.EventGap, Node: "edge-1", Missing: 7, Reason: "overflow"}
	_, err := h.store.Publish(t.Context(), bustest.Admit(e.Publication(keep)))
	testkit.Check(t, err)
	if g := s.next().GetGap(); g.GetReason() != "overflow" || g.GetNode() != "edge-1" || g.GetMissing() != 7 || g.GetTo().GetEpoch() != first.Epoch {
		t.Errorf("gap is %v", g)
	}
}

func TestWatchEvents_saysThatItIsAlive(t *testing.T) {
	h := startWith(t, newStore(), on(), rpc.Config{Heartbeat: 5 * time.Millisecond})
	s := h.watch(t.Context(), &hooksv1.WatchEventsRequest{Kinds: []hooksv1.EventKind{hooksv1.EventKind_EVENT_KIND_STORED}})
	at := h.write(bus.EventConnected, "not asked for")
	for {
		if p := s.next().GetHeartbeat().GetPosition(); p.GetOffset() == at.Offset && p.GetEpoch() == at.Epoch {
			return
		}
	}
}

// Proxies count the silence from what came last, which is an event or a heartbeat.
func TestWatchEvents_silenceBeginsWithTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startWith(t, newStore(), on(), rpc.Config{Heartbeat: 10 * time.Second})
		defer h.stop()
		s := h.watch(t.Context(), &hooksv1.WatchEventsRequest{})
		last := time.Now()
		silence := func(what string) {
			if silent := time.Since(last); silent != 10*time.Second {
				t.Errorf("after %s it was silent for %s", what, silent)
			}
			last = time.Now()
		}
		for _, what := range []string{"the beginning", "a heartbeat"} {
			if s.next().GetHeartbeat() == nil {
				t.Fatal("not a heartbeat")
			}
			silence(what)
		}
		timer := time.NewTimer(7 * time.Second)
		<-timer.C
		h.write(bus.EventConnected, "1")
		if s.next().GetEvent() == nil {
			t.Fatal("not an event")
		}
		last = time.Now()
		if s.next().GetHeartbeat() == nil {
			t.Fatal("not a heartbeat")
		}
		silence("an event")
	})
}

func TestWatchEvents_refusals(t *testing.T) {
	text, key := rpc.NewAPIKey("publisher", rpc.ScopePublish, rpc.ScopeSubscribe)
	watcher, allowed := rpc.NewAPIKey("watcher", rpc.ScopeEvents)
	h := start(t, newStore(), on(), key, allowed)
	off := start(t, newStore(), events.Config{})
	as := func(credential string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+credential)
	}
	for name, tc := range map[string]struct {
		h    *fixture
		ctx  context.Context
		req  *hooksv1.WatchEventsRequest
		want *bus.Error
	}{
		"both":         {h, t.Context(), &hooksv1.WatchEventsRequest{FromBeginning: true, After: &publishv1.Position{Epoch: "e"}}, bus.ErrFieldInvalid},
		"no epoch":     {h, t.Context(), &hooksv1.WatchEventsRequest{After: &publishv1.Position{Offset: 1}}, bus.ErrFieldInvalid},
		"no kind":      {h, t.Context(), &hooksv1.WatchEventsRequest{Kinds: []hooksv1.EventKind{0}}, bus.ErrFieldInvalid},
		"unknown kind": {h, t.Context(), &hooksv1.WatchEventsRequest{Kinds: []hooksv1.EventKind{99}}, bus.ErrFieldInvalid},
		"scope":        {h, as(text), &hooksv1.WatchEventsRequest{}, bus.ErrPermissionDenied},
		"a token":      {h, as("eyJ.a.b"), &hooksv1.WatchEventsRequest{}, bus.ErrTokenInvalid},
		"switched off": {off, t.Context(), &hooksv1.WatchEventsRequest{}, bus.ErrEventsDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := tc.h.events.WatchEvents(tc.ctx, tc.req)
			testkit.Check(t, err)
			_, err = st.Recv()
			refused(t, err, tc.want)
			if tc.h == off && rpc.FromError(err).Metadata["setting"] != "hooks.events.enabled" {
				t.Errorf("error is %+v", rpc.FromError(err))
			}
		})
	}
	h.watch(as(watcher), &hooksv1.WatchEventsRequest{})
}

func TestWatchEvents_endsWithTheServer(t *testing.T) {
	h := start(t, newStore(), on())
	s := h.watch(t.Context(), &hooksv1.WatchEventsRequest{})
	ended := make(chan error, 1)
	go func() { _, err := s.Recv(); ended <- err }()
	h.stop()
	refused(t, <-ended, bus.ErrDraining)
}
