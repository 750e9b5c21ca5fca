package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// facilities starts a system that speaks the protocol, and returns its listeners and who registers sessions.
func facilities(t *testing.T, opts ...apptest.Option) ([]string, func(key, user string, groups ...string), legacyv1.FacilityServiceClient) {
	t.Helper()
	h := apptest.Start(t, append(opts, apptest.Setting(t, "legacy.dialects", "facility"),
		apptest.Setting(t, "legacy.facility.prefix", "ws4redis"), apptest.Setting(t, "legacy.facility.heartbeat", "--heartbeat--"))...)
	var all []string
	for _, p := range h.Processes {
		if at := p.Legacy["legacy.facility.listen"]; at != "" {
			all = append(all, at)
		}
	}
	sessions := legacyv1.NewFacilityServiceClient(apptest.Dial(t, h.GRPC, h.AdminKey))
	return all, func(key, user string, groups ...string) {
		t.Helper()
		_, err := sessions.RegisterSession(t.Context(), &legacyv1.RegisterSessionRequest{Key: key, User: user, Groups: groups})
		testkit.Check(t, err)
	}, sessions
}

// Pages and programs of the older system talk, come back after their session has ended and begun again, and beat their hearts.
func TestFacilityClients_inChromiumAndNode(t *testing.T) {
	needs(t, modules, chromium)
	for name, opts := range map[string][]apptest.Option{
		"memory": nil, "redis": {apptest.Redis(redistest.Start(t).URL()), apptest.Split(1)},
	} {
		t.Run(name, func(t *testing.T) {
			at, register, sessions := facilities(t, opts...)
			john, mary := strings.Repeat("j", 32), strings.Repeat("m", 32)
			register(john, "john")
			register(mary, "mary")
			script(t, func(line string) {
				if line == "KICK" {
					_, err := sessions.UnregisterSession(t.Context(), &legacyv1.UnregisterSessionRequest{Key: john})
					testkit.Check(t, err)
					register(john, "john")
				}
			}, "node", "testdata/facility.mjs", at[0], john, mary)
		})
	}
}

// The older system's publisher in Python, one by one and in a pipeline, and its fetch_message.
func TestFacilityPublisher_inPython(t *testing.T) {
	needs(t, python)
	redis := redistest.Start(t)
	at, register, _ := facilities(t, apptest.Redis(redis.URL()), apptest.Split(2))
	register("abc", "john", "chatusers")
	dial := func(edge int, query string) (next func() string, ws *websocket.Conn) {
		ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+at[edge]+"/ws/unittest?"+query, http.Header{"Cookie": {"sessionid=abc"}})
		testkit.Check(t, err)
		testkit.Check(t, resp.Body.Close())
		t.Cleanup(func() { _ = ws.Close() })
		return func() string {
			t.Helper()
			for {
				testkit.Check(t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
				_, data, err := ws.ReadMessage()
				testkit.Check(t, err)
				if string(data) != "--heartbeat--" {
					return string(data)
				}
			}
		}, ws
	}
	const all = "subscribe-broadcast&subscribe-group&subscribe-user&subscribe-session"
	early, _ := dial(0, all)
	script(t, nil, python, "testdata/facility.py", redis.Addr(), "publish")
	for _, how := range []string{"one by one", "in a pipeline"} {
		for _, kind := range []string{"broadcast", "user", "group", "session"} {
			if got := early(); got != kind+" "+how {
				t.Errorf("got %q, want %s %s", got, kind, how)
			}
		}
	}
	late, _ := dial(1, all)
	for _, kind := range []string{"broadcast", "group", "user", "session"} {
		if got := late(); got != kind+" in a pipeline" {
			t.Errorf("stored %q, want %s", got, kind)
		}
	}
	_, ws := dial(1, "publish-broadcast&publish-group&publish-user&publish-session")
	testkit.Check(t, ws.WriteMessage(websocket.BinaryMessage, []byte("\x00\x12\xaa")))
	testkit.Check(t, ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second)))
	for err := error(nil); err == nil; {
		_, _, err = ws.ReadMessage()
	}
	var fetched []string
	script(t, func(line string) { fetched = append(fetched, line) }, python, "testdata/facility.py", redis.Addr(), "fetch")
	ours := `b'\x00\x12\xaa'`
	if want := []string{ours, ours, "b'user in a pipeline'", ours, ours, "None", "DONE"}; fmt.Sprint(fetched) != fmt.Sprint(want) {
		t.Errorf("fetched %q, want %q", fetched, want)
	}
}
