package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// Every kind of event, over gRPC, NDJSON and text/event-stream, in one process and in several.
func TestRun_Events(t *testing.T) {
	on := apptest.With(func(c *config.Config) { c.Hooks.Events.Enabled = true })
	t.Run("in memory", func(t *testing.T) { testRunEvents(t, apptest.Start(t, on)) })
	t.Run("over Redis", func(t *testing.T) {
		testRunEvents(t, apptest.Start(t, on, apptest.Redis(redistest.Start(t).URL()), apptest.Split(2)))
	})
}

func testRunEvents(t *testing.T, h *apptest.Deployment) {
	begun := time.Now().Add(-time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := hooksv1.NewEventServiceClient(apptest.Dial(t, h.GRPC, h.AdminKey)).WatchEvents(ctx, &hooksv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetWatched().GetPosition().GetEpoch() == "" {
		t.Fatal(first, err)
	}
	live := sse(t, h, "/v1/events?kinds=EVENT_KIND_VACATED&kinds=EVENT_KIND_EXPIRED", "")
	live.next(t) // watched
	act(t, ctx, h)
	got := map[string]*hooksv1.Event{}
	for len(got) < 6 {
		r, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		if e := r.GetEvent(); e != nil {
			if d := e.GetTime().AsTime(); d.Before(begun) || d.After(time.Now().Add(time.Second)) || e.GetPosition().GetOffset() == 0 {
				t.Errorf("event is %v", e)
			}
			got[fmt.Sprint(e.GetKind(), " ", e.GetClient(), e.GetAddress())] = e
		}
	}
	in, out := got["EVENT_KIND_CONNECTED ada"], got["EVENT_KIND_DISCONNECTED ada"]
	stored, expired := got["EVENT_KIND_STORED users/nobody"], got["EVENT_KIND_EXPIRED users/nobody"]
	if in == nil || out == nil || stored == nil || expired == nil || got["EVENT_KIND_OCCUPIED channels/room:1"] == nil || got["EVENT_KIND_VACATED channels/room:1"] == nil {
		t.Fatalf("events are %v", got)
	}
	if in.GetConnection() == "" || in.GetConnection() != out.GetConnection() || in.GetUser() != "u" || in.GetSession() != "s" || in.GetNode() == "" ||
		out.GetReason() != "client" || out.GetTime().AsTime().Before(in.GetTime().AsTime()) {
		t.Errorf("events are %v and %v", in, out)
	}
	if stored.GetMessageId() == "" || stored.GetMessageId() != expired.GetMessageId() || expired.GetReason() != "ttl" ||
		expired.GetTime().AsTime().Sub(stored.GetTime().AsTime()) < 500*time.Millisecond {
		t.Errorf("events are %v and %v", stored, expired)
	}
	testRESTEvents(t, h, live, got)
}

// act makes every kind of event happen.
func act(t *testing.T, ctx context.Context, h *apptest.Deployment) { //nolint:revive // t first, as everywhere
	t.Helper()
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "ada", User: "u", Session: "s"}, "channels/*")
	c, err := client.New(client.Config{URL: h.Edges[len(h.Edges)-1], Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	run, leave := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(run) }()
	for _, err := range []error{
		func() error { _, err := c.Subscribe(ctx, client.Subscription{Address: "channels/room:1"}); return err }(),
		c.Unsubscribe(ctx, "channels/room:1"),
		func() error {
			_, err := h.Publish.Publish(ctx, &publishv1.PublishRequest{To: "users/nobody", Data: []byte("1"), Ack: &publishv1.AckPolicy{
				Timeout: durationpb.New(100 * time.Millisecond), Keep: durationpb.New(time.Second),
			}})
			return err
		}(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	leave()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func testRESTEvents(t *testing.T, h *apptest.Deployment, live *lineReader, got map[string]*hooksv1.Event) {
	t.Helper()
	// What was asked for, live.
	first := got["EVENT_KIND_VACATED channels/room:1"]
	if e := live.next(t); e.event != "event" || e.data["kind"] != "EVENT_KIND_VACATED" || e.data["id"] != first.GetId() {
		t.Errorf("event is %+v", e)
	}
	if e := live.next(t); e.data["kind"] != "EVENT_KIND_EXPIRED" {
		t.Errorf("event is %+v", e)
	}
	// After the first two events, as a browser that comes back asks for them.
	byOffset := map[uint64]*hooksv1.Event{}
	var offsets []uint64
	for _, e := range got {
		byOffset[e.GetPosition().GetOffset()] = e
		offsets = append(offsets, e.GetPosition().GetOffset())
	}
	slices.Sort(offsets)
	at := byOffset[offsets[1]].GetPosition()
	again := sse(t, h, "/v1/events", fmt.Sprintf("%s:%d", at.GetEpoch(), at.GetOffset()))
	if e := again.next(t); e.event != "watched" {
		t.Errorf("first comes %+v", e)
	}
	for _, o := range offsets[2:] {
		e := again.next(t)
		if e.id != fmt.Sprintf("%s:%d", at.GetEpoch(), o) || e.data["id"] != byOffset[o].GetId() {
			t.Fatalf("event is %+v, want %v", e, byOffset[o])
		}
	}
	lines := request(t, h, "/v1/events?fromBeginning=true", nil)
	for i := range 7 {
		if !lines.scan.Scan() || !strings.HasPrefix(lines.scan.Text(), `{"result":{`) || i > 0 && !strings.Contains(lines.scan.Text(), `"event":{"id":"evt_`) {
			t.Fatalf("line %d is %q", i, lines.scan.Text())
		}
	}
	for path, want := range map[string]string{
		"/v1/events?kinds=CONNECTED": "FIELD_INVALID", "/v1/events?x=1": "UNKNOWN_FIELD", "/v1/events?fromBeginning=true&after.epoch=e": "FIELD_INVALID",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+path, nil)
		req.Header.Set("Authorization", "Bearer "+h.AdminKey)
		if status, body := do(t, req); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// lineReader reads a stream of the gateway.
type lineReader struct{ scan *bufio.Scanner }

// sent is one server-sent event.
type sent struct {
	id, event string
	data      map[string]any
}

func request(t *testing.T, h *apptest.Deployment, path string, header map[string]string) *lineReader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.AdminKey)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
	}
	return &lineReader{bufio.NewScanner(resp.Body)}
}

func sse(t *testing.T, h *apptest.Deployment, path, last string) *lineReader {
	t.Helper()
	header := map[string]string{"Accept": "text/event-stream"}
	if last != "" {
		header["Last-Event-ID"] = last
	}
	return request(t, h, path, header)
}

// next returns the next event but heartbeats.
func (l *lineReader) next(t *testing.T) sent {
	t.Helper()
	var e sent
	for l.scan.Scan() {
		name, value, _ := strings.Cut(l.scan.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				t.Fatalf("%s: %v", value, err)
			}
		case "":
			if e.event != "heartbeat" {
				return e
			}
			e = sent{}
		}
	}
	t.Fatalf("the stream ended: %v", l.scan.Err())
	return e
}
