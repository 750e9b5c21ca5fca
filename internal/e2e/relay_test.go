package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	goredis "github.com/redis/go-redis/v9"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// onEachStore runs a test on a system that speaks the older relay, once for each store.
func onEachStore(t *testing.T, run func(t *testing.T, r *relaySystem)) {
	t.Helper()
	speaks := apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true })
	t.Run("memory", func(t *testing.T) { run(t, &relaySystem{tb: t, Deployment: apptest.Start(t, speaks)}) })
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		run(t, &relaySystem{tb: t, server: server, Deployment: apptest.Start(t, speaks, apptest.Redis(server.URL()), apptest.Split(1))})
	})
}

type relaySystem struct {
	*apptest.Deployment
	tb     testing.TB
	server *redistest.Server // nil in memory
}

func (r *relaySystem) token() string {
	r.tb.Helper()
	_, body := get("http://" + r.Legacy["relay.http"] + "/token")
	var answer struct{ Token string }
	testkit.Check(r.tb, json.Unmarshal([]byte(body), &answer))
	return answer.Token
}

// open dials with a query; the path does not matter.
func (r *relaySystem) open(path, query string) *websocket.Conn {
	r.tb.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(r.tb.Context(), "ws://"+r.Legacy["relay.websocket"]+path+query, http.Header{"Origin": {"http://elsewhere.example"}})
	testkit.Check(r.tb, err)
	r.tb.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
	testkit.Check(r.tb, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	return ws
}

func (r *relaySystem) publish(record string) {
	r.tb.Helper()
	res, err := http.Post("http://"+r.Legacy["relay.http"]+"/publish", "application/json", strings.NewReader(record))
	testkit.Check(r.tb, err)
	body, err := io.ReadAll(res.Body)
	testkit.Check(r.tb, errors.Join(err, res.Body.Close()))
	if res.StatusCode != http.StatusOK || string(body) != `{"status":true}` {
		r.tb.Fatalf("/publish %s: %d %s", record, res.StatusCode, body)
	}
}

func (r *relaySystem) next(ws *websocket.Conn) string {
	r.tb.Helper()
	op, data, err := ws.ReadMessage()
	testkit.Check(r.tb, err)
	if op != websocket.TextMessage {
		r.tb.Errorf("a frame of type %d", op)
	}
	return string(data)
}

// Every shape of message arrives as it was sent, at once after the socket has opened, at every socket of the token.
func TestRelay_messages(t *testing.T) {
	onEachStore(t, func(t *testing.T, r *relaySystem) {
		token := r.token()
		if again := r.token(); again == token {
			t.Error("the second token is the first one")
		}
		sockets := []*websocket.Conn{r.open("/ws", "?token="+token), r.open("/any/path", "?x=1&token="+token), r.open("", "?token="+token)}
		testkit.Check(t, sockets[0].WriteMessage(websocket.TextMessage, []byte("what a client sends is read and ignored")))
		testkit.Check(t, sockets[0].WriteMessage(websocket.BinaryMessage, []byte{0, 1, 2}))
		for _, tc := range []struct{ member, frame string }{
			{`,"message":"text"`, `{"message":"text"}`},
			{`,"message":{"a":[1,2.50,null]}`, `{"message":{"a":[1,2.50,null]}}`},
			{`,"message":null`, `{"message":null}`},
			{`,"message":0`, `{"message":0}`},
			{`,"message":""`, `{"message":""}`},
			{`,"message":"é \u2028 <b>"`, "{\"message\":\"é \\u2028 <b>\"}"},
			{``, `{}`},
			{`,"other":1`, `{}`},
		} {
			r.publish(`{"uuid_remote":"` + token + `","uuid_local":"me"` + tc.member + `}`)
			for i, ws := range sockets {
				got := r.next(ws)
				var a, b any
				testkit.Check(t, json.Unmarshal([]byte(got), &a))
				testkit.Check(t, json.Unmarshal([]byte(tc.frame), &b))
				if fmt.Sprint(a) != fmt.Sprint(b) {
					t.Errorf("%s at socket %d: %s, want %s", tc.member, i, got, tc.frame)
				}
			}
		}
		// Closing one unregisters none of the others (fault: "old socket's close unregisters the new one").
		testkit.Check(t, sockets[0].Close())
		_, err := r.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "clients/" + token, Data: []byte(`"natively"`)})
		testkit.Check(t, err)
		for _, ws := range sockets[1:] {
			if got := r.next(ws); got != `{"message":"natively"}` {
				t.Errorf("after one was closed: %s", got)
			}
		}
	})
}

// The socket opens before it is refused, without a code, and never says anything.
func TestRelay_refusals(t *testing.T) {
	onEachStore(t, func(t *testing.T, r *relaySystem) {
		for _, query := range []string{"", "?token=", "?token=unknown", "?token=a%2Fb", "?token=" + url.QueryEscape("../auth/"+r.token())} {
			ws := r.open("/ws", query)
			_, data, err := ws.ReadMessage()
			if !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
				t.Errorf("%q: %s, %v", query, data, err)
			}
		}
		res, err := http.Get("http://" + r.Legacy["relay.websocket"] + "/ws?token=" + r.token())
		testkit.Check(t, err)
		testkit.Check(t, res.Body.Close())
		if res.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("without an upgrade: %s", res.Status)
		}
	})
}

// Whoever publishes on the Redis channel article reaches our sockets, and whoever listens to it hears our publishes.
func TestRelay_article(t *testing.T) {
	r := &relaySystem{tb: t, server: redistest.Start(t)}
	r.Deployment = apptest.Start(t, apptest.Redis(r.server.URL()), apptest.Split(2), apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true }))
	old := goredis.NewClient(&goredis.Options{Addr: r.server.Addr()})
	defer func() { testkit.Check(t, old.Close()) }()
	heard := old.Subscribe(t.Context(), "article")
	defer func() { testkit.Check(t, heard.Close()) }()
	_, err := heard.Receive(t.Context())
	testkit.Check(t, err)
	token := r.token()
	ws := r.open("/ws", "?token="+token)
	for _, record := range []string{`{"uuid_remote":"` + token + `","uuid_local":"l","message":1,"unknown":{"kept":true}}`, `{}`, `[1]`, `{"uuid_remote":"nobody"}`} {
		r.publish(record)
		m, err := heard.ReceiveMessage(t.Context())
		testkit.Check(t, err)
		if m.Payload != record {
			t.Errorf("article says %s, want %s", m.Payload, record)
		}
	}
	form, err := http.PostForm("http://"+r.Legacy["relay.http"]+"/publish", url.Values{"uuid_remote": {token}, "a[b]": {"c"}, "message": {"2"}})
	testkit.Check(t, err)
	testkit.Check(t, form.Body.Close())
	m, err := heard.ReceiveMessage(t.Context())
	testkit.Check(t, err)
	if want := `{"a":{"b":"c"},"message":"2","uuid_remote":"` + token + `"}`; m.Payload != want {
		t.Errorf("a form on article is %s, want %s", m.Payload, want)
	}
	// Fault: "malformed, null or non-object record on article kills the edge and every connection".
	for _, rubbish := range []string{"", "{", "null", "[]", "7", `"x"`, `{"uuid_remote":7}`, `{"uuid_remote":"a b"}`, "\xff\xfe", strings.Repeat("[", 10_000)} {
		testkit.Check(t, old.Publish(t.Context(), "article", rubbish).Err())
	}
	testkit.Check(t, old.Publish(t.Context(), "article", `{"uuid_remote":"`+token+`","message":3}`).Err())
	for _, want := range []string{`{"message":1}`, `{"message":"2"}`, `{"message":3}`} {
		if got := r.next(ws); got != want {
			t.Errorf("the socket got %s, want %s", got, want)
		}
	}
}

// An edge process of the older system, unchanged, works with our token server, our publishes and our Redis.
func TestRelay_olderEdge(t *testing.T) {
	needs(t, modules)
	r := &relaySystem{tb: t, server: redistest.Start(t)}
	r.Deployment = apptest.Start(t, apptest.Redis(r.server.URL()), apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true }))
	token := r.token()
	var ws, refused *websocket.Conn
	input, stop := io.Pipe()
	var once sync.Once
	feed(t, input, func(line string) {
		if port, ok := strings.CutPrefix(line, "PORT "); ok {
			dial := func(token string) *websocket.Conn {
				c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://127.0.0.1:"+port+"/ws?token="+token, nil)
				testkit.Check(t, err)
				t.Cleanup(func() { _, _ = resp.Body.Close(), c.Close() })
				testkit.Check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
				return c
			}
			ws, refused = dial(token), dial("unknown")
		}
		if line == "OPEN "+token {
			once.Do(func() {
				r.publish(`{"uuid_remote":"` + token + `","uuid_local":"l","message":{"to":"an older edge"}}`)
				if got := r.next(ws); got != `{"message":{"to":"an older edge"}}` {
					t.Errorf("the older edge delivered %s", got)
				}
				if _, _, err := refused.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
					t.Errorf("an unknown token at the older edge: %v", err)
				}
				testkit.Check(t, stop.Close())
			})
		}
	}, "node", "testdata/relay_edge.mjs", "http://"+r.Legacy["relay.http"], r.server.URL())
}

// Fault: "tokens kept in a process-local array; lost on restart, not shared between instances".
func TestFault_relayTokensAreLost(t *testing.T) {
	server := redistest.Start(t)
	speaks := apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true })
	one := &relaySystem{tb: t, Deployment: apptest.Start(t, speaks, apptest.Redis(server.URL()))}
	two := &relaySystem{tb: t, Deployment: apptest.Start(t, speaks, apptest.Redis(server.URL()))}
	token := one.token()
	testkit.Check(t, one.Processes[0].Stop())
	if status, body := get("http://" + two.Legacy["relay.http"] + "/auth/" + token); status != http.StatusOK || body != `{"auth":true}` {
		t.Errorf("another process, after the first has ended: %d %s", status, body)
	}
	// Nothing in Redis is the token itself.
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, c.Close()) }()
	keys, err := c.Keys(t.Context(), "*").Result()
	testkit.Check(t, err)
	for _, k := range keys {
		if strings.Contains(k, token) {
			t.Errorf("the key %s has the token in it", k)
		}
	}
}

// Fault: "either process dies when Redis goes away". Both live on, say that they are not ready, and serve again.
func TestFault_relayDiesWithRedis(t *testing.T) {
	server := redistest.Start(t)
	r := &relaySystem{tb: t, server: server}
	r.Deployment = apptest.Start(t, apptest.Redis(server.URL()), apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true }))
	token := r.token()
	ws := r.open("/ws", "?token="+token)
	server.Kill9()
	r.Processes[0].WaitNotReady(t)
	if status, body := get("http://" + r.Legacy["relay.http"] + "/token"); status != http.StatusServiceUnavailable || strings.Contains(body, "goroutine") {
		t.Errorf("/token without Redis: %d %s", status, body)
	}
	server.Restart()
	r.Processes[0].WaitReady(t)
	r.publish(`{"uuid_remote":"` + token + `","message":"after"}`)
	if got := r.next(ws); got != `{"message":"after"}` {
		t.Errorf("after Redis came back: %s", got)
	}
}

// Faults: "stack traces sent to clients", "whole body logged and forwarded", "token in the query string and in logs".
func TestFault_relayTellsItsInsides(t *testing.T) {
	r := &relaySystem{tb: t}
	r.Deployment = apptest.Start(t, apptest.With(func(c *config.Config) {
		c.Legacy.Dialects, c.Legacy.Open, c.Log.Level = []string{"relay"}, true, "debug"
	}))
	token := r.token()
	ws := r.open("/ws", "?token="+token)
	r.publish(`{"uuid_remote":"` + token + `","message":"a-secret-text"}`)
	r.next(ws)
	for _, body := range []string{`{`, `"x"`, `{"message":"` + strings.Repeat("x", 200<<10) + `"}`} {
		res, err := http.Post("http://"+r.Legacy["relay.http"]+"/publish", "application/json", bytes.NewReader([]byte(body)))
		testkit.Check(t, err)
		text, err := io.ReadAll(res.Body)
		testkit.Check(t, errors.Join(err, res.Body.Close()))
		if res.StatusCode < 400 || strings.Contains(string(text), ".go:") || strings.Contains(string(text), "<html") {
			t.Errorf("%.20s: %d %s", body, res.StatusCode, text)
		}
	}
	if log := r.Processes[0].Log(); strings.Contains(log, token) || strings.Contains(log, "a-secret-text") {
		t.Error("a token or a message stands in the log")
	}
}

// Fault: "the token server being down makes the edge exit". The edge refuses who comes meanwhile, keeps who is there, and lives.
func TestFault_relayEdgeDiesWithTokenServer(t *testing.T) {
	server := redistest.Start(t)
	r := &relaySystem{tb: t, server: server}
	r.Deployment = apptest.Start(t, apptest.Redis(server.URL()), apptest.Split(1), apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true }))
	token, other := r.token(), r.token()
	ws := r.open("/ws", "?token="+token)
	testkit.Check(t, r.Processes[0].Stop()) // auth
	late := r.open("/ws", "?token="+other)
	if _, _, err := late.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("a token that nobody can check: %v", err)
	}
	edge := r.Processes[len(r.Processes)-1]
	if status, _ := get("http://" + edge.Internal + "/livez"); status != http.StatusOK {
		t.Errorf("the edge's /livez is %d", status)
	}
	old := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, old.Close()) }()
	testkit.Check(t, old.Publish(t.Context(), "article", `{"uuid_remote":"`+token+`","message":"still here"}`).Err())
	if got := r.next(ws); got != `{"message":"still here"}` {
		t.Errorf("who is connected gets %s", got)
	}
}
