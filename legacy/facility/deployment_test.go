package facility_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// deployment is a running system that speaks the protocol, and where it does.
type deployment struct {
	*apptest.Deployment
	t        *testing.T
	at       []string
	conn     *grpc.ClientConn
	sessions legacyv1.FacilityServiceClient
	old      *goredis.Client // an older program's connection; nil in memory
}

func start(t *testing.T, opts ...apptest.Option) *deployment {
	t.Helper()
	opts = append([]apptest.Option{with(func(f *facility.Settings) { f.Prefix = "ws4redis" }), apptest.Legacy("facility")}, opts...)
	h := &deployment{Deployment: apptest.Start(t, opts...), t: t}
	h.at = h.Listeners("legacy.facility.listen")
	h.conn = apptest.Dial(t, h.GRPC, h.AdminKey)
	h.sessions = legacyv1.NewFacilityServiceClient(h.conn)
	return h
}

func startRedis(t *testing.T, opts ...apptest.Option) *deployment {
	t.Helper()
	server := redistest.Start(t)
	h := start(t, append([]apptest.Option{apptest.Redis(server.URL()), apptest.Split(2)}, opts...)...)
	h.old = goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = h.old.Close() })
	return h
}

// everywhere runs a test on one process in memory, and on two edges over Redis.
func everywhere(t *testing.T, test func(t *testing.T, h *deployment), opts ...apptest.Option) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, start(t, opts...)) })
	t.Run("redis", func(t *testing.T) { test(t, startRedis(t, opts...)) })
}

// settings returns the protocol, whose settings may be changed.
func settings(c *config.Config) *facility.Facility {
	p, _ := config.ProtocolOf[*facility.Facility](c.Legacy)
	return p
}

// with edits how the protocol is spoken.
func with(edit func(f *facility.Settings)) apptest.Option {
	return apptest.With(func(c *config.Config) { edit(&settings(c).Settings) })
}

// closed takes away what --legacy-open gives.
var closed = apptest.Closed()

// login registers a session, as the site does, and returns its key.
func (h *deployment) login(t *testing.T, user string, groups ...string) string {
	t.Helper()
	key := strings.Repeat("k", 22) + fmt.Sprintf("%010d", time.Now().UnixNano()%1e10)
	_, err := h.sessions.RegisterSession(soon(t), &legacyv1.RegisterSessionRequest{Key: key, User: user, Groups: groups})
	testkit.Check(t, err)
	return key
}

// publish sends a message as a back end does: over Redis as the older Python publisher, which keeps it too, and natively in
// memory. The argument name is the older name without its prefix.
func (h *deployment) publish(t *testing.T, name, data string) {
	t.Helper()
	if h.old != nil {
		testkit.Check(t, h.old.Publish(soon(t), "ws4redis:"+name, data).Err())
		testkit.Check(t, h.old.Do(soon(t), "setex", "ws4redis:"+name, 3600, data).Err())
		return
	}
	h.natively(t, address(name), data)
}

func (h *deployment) natively(t *testing.T, to, data string) {
	t.Helper()
	_, err := h.Publish.Publish(soon(t), &publishv1.PublishRequest{To: to, Data: []byte(data), ContentType: publishv1.ContentType_CONTENT_TYPE_BINARY})
	testkit.Check(t, err)
}

// address is the native address of an older name.
func address(name string) string {
	kind, rest, _ := strings.Cut(name, ":")
	if kind == "broadcast" {
		return "broadcast/topics/" + dialect.Name(rest)
	}
	who, rest, _ := strings.Cut(rest, ":")
	return kind + "s/" + dialect.Identity(who) + "/topics/" + dialect.Name(rest)
}

// stored is what an audience keeps, as fetch_message reads it over Redis, and natively in memory.
func (h *deployment) stored(t *testing.T, name string) string {
	t.Helper()
	if h.old != nil {
		text, err := h.old.Get(soon(t), "ws4redis:"+name).Result()
		if errors.Is(err, goredis.Nil) {
			return ""
		}
		testkit.Check(t, err)
		return text
	}
	kind, rest, _ := strings.Cut(name, ":")
	who, facility, _ := strings.Cut(rest, ":")
	var header http.Header
	switch kind {
	case "broadcast":
		facility = rest
	case "user":
		header = cookie(h.login(t, who))
	case "group":
		header = cookie(h.login(t, "", who))
	case "session":
		header = cookie(who)
	}
	return h.dial(t, 0, url.PathEscape(facility)+"?subscribe-"+kind, header).kept()
}

// kept is the last frame that comes before anything is read of the client; empty for none. What was published while it
// subscribed comes live.
func (c *client) kept() string {
	c.t.Helper()
	testkit.Check(c.t, c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second)))
	last := ""
	for e := c.next(); e.kind != websocket.PongMessage; e = c.next() {
		testkit.Check(c.t, e.err)
		last = e.data
	}
	return last
}

// client is one socket.
type client struct {
	t      *testing.T
	ws     *websocket.Conn
	events chan event
}

// event is a frame, or the end.
type event struct {
	kind int
	data string
	err  error
}

// cookie is the header of somebody who is signed in.
func cookie(key string) http.Header { return http.Header{"Cookie": {"other=1; sessionid=" + key}} }

// dial connects to one of the edges: what is after /ws/, and who.
func (h *deployment) dial(t *testing.T, edge int, path string, header http.Header) *client {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(soon(t), "ws://"+h.at[edge%len(h.at)]+"/ws/"+path, header)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	_ = resp.Body.Close()
	c := &client{t: t, ws: ws, events: make(chan event, 4096)}
	done := make(chan struct{})
	ws.SetPongHandler(func(string) error { c.events <- event{kind: websocket.PongMessage}; return nil })
	go func() {
		defer close(done)
		for {
			kind, data, err := ws.ReadMessage()
			c.events <- event{kind, string(data), err}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = ws.Close(); <-done })
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	testkit.Check(c.t, c.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (c *client) next() event {
	c.t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(time.Minute):
		c.t.Fatal("nothing came")
		return event{}
	}
}

// gets expects text frames, one after the other.
func (c *client) gets(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if e := c.next(); e.err != nil || e.data != w || e.kind != websocket.TextMessage {
			c.t.Fatalf("got %q of type %d, %v; want %q", e.data, e.kind, e.err, w)
		}
	}
}

// getsAny expects text frames in any order.
func (c *client) getsAny(want ...string) {
	c.t.Helper()
	for len(want) > 0 {
		e := c.next()
		i := slices.Index(want, e.data)
		if e.err != nil || i < 0 {
			c.t.Fatalf("got %q, %v; want one of %q", e.data, e.err, want)
		}
		want = slices.Delete(want, i, i+1)
	}
}

// closes ends the socket with a code, 0 for none, and returns what the server answers.
func (c *client) closes(code int, text string) *websocket.CloseError {
	c.t.Helper()
	var payload []byte
	if code != 0 {
		payload = append([]byte{byte(code >> 8), byte(code)}, text...)
	}
	testkit.Check(c.t, c.ws.WriteControl(websocket.CloseMessage, payload, time.Now().Add(10*time.Second)))
	for {
		if e := c.next(); e.err != nil {
			var bye *websocket.CloseError
			if !errors.As(e.err, &bye) {
				c.t.Fatalf("it ended with %v", e.err)
			}
			return bye
		}
	}
}

// soon is a context for what must not take long.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// metric is the sum of a metric over all processes.
func (h *deployment) metric(t *testing.T, name string) int {
	t.Helper()
	sum := 0
	for _, p := range h.Processes {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "http://"+p.Internal+"/metrics", nil)
		testkit.Check(t, err)
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(t, err)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			var n float64 // large ones have an exponent
			if _, err := fmt.Sscanf(lines.Text(), name+" %g", &n); err == nil {
				sum += int(n)
			}
		}
		_ = resp.Body.Close()
	}
	return sum
}
