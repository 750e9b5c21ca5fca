package facility_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
)

func TestMain(m *testing.M) {
	// go-redis tries a dead server once a second, and notices only then that its pool was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func (h *deployment) token(t *testing.T, user string, groups ...string) string {
	t.Helper()
	resp, err := h.Auth.IssueToken(soon(t), &authv1.IssueTokenRequest{User: user, Groups: groups})
	testkit.Check(t, err)
	return resp.GetToken()
}

const everything = "?subscribe-broadcast&subscribe-group&subscribe-user&subscribe-session"

// What is stored comes first, broadcast, groups, user, session, and then what is live, on every edge.
func TestAudiences(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		john := h.login(t, "john", "red", "blue")
		names := []string{"broadcast:f", "group:red:f", "group:blue:f", "user:john:f", "session:" + john + ":f"}
		for _, name := range names {
			h.publish(t, name, "stored for "+name)
		}
		h.publish(t, "user:john:g", "of another facility")
		h.publish(t, "user:mary:f", "of another user")
		for edge := range 2 {
			c := h.dial(t, edge, "f"+everything, cookie(john))
			for _, name := range names {
				c.gets("stored for " + name)
			}
			for _, name := range names {
				h.publish(t, name, "live for "+name)
				c.gets("live for " + name)
				h.publish(t, name, "stored for "+name)
				c.gets("stored for " + name)
			}
			one := h.dial(t, edge, "f?subscribe-user", cookie(john))
			one.gets("stored for user:john:f")
		}
	})
}

// A client's frames go to the audiences that it named, in their order, and are stored there.
func TestPublish(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		john := h.login(t, "john", "red")
		all := h.dial(t, 1, "f"+everything, cookie(john))
		c := h.dial(t, 0, "f?publish-session&publish-user&publish-group&publish-broadcast", cookie(john))
		c.send("hello")
		all.gets("hello", "hello", "hello", "hello")
		for _, name := range []string{"broadcast:f", "group:red:f", "user:john:f", "session:" + john + ":f"} {
			if got := h.stored(t, name); got != "hello" {
				t.Errorf("%s has stored %q", name, got)
			}
		}
		if got := h.stored(t, "user:mary:f"); got != "" {
			t.Errorf("mary has stored %q", got)
		}
		none := h.dial(t, 0, "g?subscribe-broadcast", nil)
		none.send("to nobody")
		if got := h.stored(t, "broadcast:g"); got != "" {
			t.Errorf("without an audience %q was stored", got)
		}
	})
}

func TestFacilities(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		for path, facility := range map[string]string{
			"": "", "a/b": "a/b", "a:b": "a:b", "a%2Fb%20c": "a/b c", "%C3%A4": "ä", "x-": "x-", "A": "A", "a/": "a/",
		} {
			c := h.dial(t, 0, path+"?subscribe-broadcast", nil)
			h.publish(t, "broadcast:"+facility, "for "+path)
			c.gets("for " + path)
		}
	})
}

// Only the names in the query count, in any case, with blanks around them; others are ignored.
func TestQuery(t *testing.T) {
	h := start(t)
	for i, query := range []string{
		"subscribe-broadcast", "SUBSCRIBE-Broadcast=no", "%20subscribe-broadcast%20=", "+subscribe-broadcast+", "x=1&subscribe-broadcast&&=&subscribe-nobody&%zz",
	} {
		c := h.dial(t, 0, fmt.Sprint("q", i, "?", query), nil)
		h.publish(t, fmt.Sprint("broadcast:q", i), query)
		c.gets(query)
	}
	_ = h.dial(t, 0, "nothing", nil).closes(1000, "")
	_ = h.dial(t, 0, "nothing?", nil).closes(1000, "")
}

// Without echo, what equals the last frame of the socket is not delivered to it, whoever sends it.
func TestEcho(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		quiet := h.dial(t, 0, "f?subscribe-broadcast&publish-broadcast", nil)
		loud := h.dial(t, 1, "f?subscribe-broadcast&publish-broadcast&echo", nil)
		quiet.send("a")
		loud.gets("a")
		h.publish(t, "broadcast:f", "a")
		loud.gets("a")
		h.publish(t, "broadcast:f", "b")
		quiet.gets("b") // and no a before it
		loud.gets("b")
		quiet.send("c")
		loud.gets("c")
		h.publish(t, "broadcast:f", "a")
		quiet.gets("a") // it is not the last any more
		loud.gets("a")
		loud.send("d")
		quiet.gets("d")
		loud.gets("d")
	})
}

// Heartbeats come at least every four seconds, are swallowed from clients, and make the server forget the last frame.
func TestHeartbeat(t *testing.T) {
	h := startRedis(t, with(func(f *facility.Settings) { f.Heartbeat = "--beat--" }))
	a := h.dial(t, 0, "f?subscribe-broadcast&publish-broadcast", nil)
	b := h.dial(t, 1, "f?subscribe-broadcast", nil)
	last := time.Now()
	for range 3 {
		a.gets("--beat--")
		if gap := time.Since(last); gap > 4500*time.Millisecond {
			t.Errorf("a heartbeat came after %s", gap)
		}
		last = time.Now()
	}
	a.send("x")
	b.getsBesides("--beat--", "x")
	a.send("--beat--")
	h.publish(t, "broadcast:f", "x")
	a.getsBesides("--beat--", "x") // forgotten, and so delivered
	b.getsBesides("--beat--", "x")
	if got := h.stored(t, "broadcast:f"); got != "x" {
		t.Errorf("%q is stored", got)
	}
	heard := h.old.Subscribe(soon(t), "ws4redis:broadcast:f")
	defer func() { _ = heard.Close() }()
	_, err := heard.Receive(soon(t))
	testkit.Check(t, err)
	a.send("--beat--")
	a.send("y")
	m, err := heard.ReceiveMessage(soon(t))
	testkit.Check(t, err)
	if m.Payload != "y" {
		t.Errorf("%q was published", m.Payload)
	}
}

// getsBesides is gets for one frame between others.
func (c *client) getsBesides(other, want string) {
	c.t.Helper()
	for {
		e := c.next()
		if e.err == nil && e.data == other {
			continue
		}
		if e.err != nil || e.data != want {
			c.t.Fatalf("got %q, %v; want %q", e.data, e.err, want)
		}
		return
	}
}

// A close frame is answered with its own code and text; one without a code with 1000.
func TestClose(t *testing.T) {
	h := start(t)
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999} {
		if bye := h.dial(t, 0, "f", nil).closes(code, "because"); bye.Code != code || bye.Text != "because" {
			t.Errorf("%d was answered with %v", code, bye)
		}
	}
	if bye := h.dial(t, 0, "f", nil).closes(0, ""); bye.Code != 1000 || bye.Text != "" {
		t.Errorf("no code was answered with %v", bye)
	}
}

// What a client sends before it closes is stored when the close is answered.
func TestClose_afterEverythingIsStored(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		for i := range 50 {
			c := h.dial(t, i, "f?publish-broadcast", nil)
			last := ""
			for j := range 10 {
				last = fmt.Sprint(i, ":", j)
				c.send(last)
			}
			if bye := c.closes(1000, ""); bye.Code != 1000 {
				t.Fatalf("closed with %v", bye)
			}
			if got := h.stored(t, "broadcast:f"); got != last {
				t.Fatalf("%q is stored, want %q", got, last)
			}
		}
	})
}

// Bytes stay what they are: text goes as text, whatever it came in, and everything else in binary frames.
func TestBinary(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		c := h.dial(t, 0, "f?publish-broadcast", nil)
		all := h.dial(t, 1, "f?subscribe-broadcast", nil)
		testkit.Check(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte("\x00\x12\xaa")))
		if e := all.next(); e.kind != websocket.BinaryMessage || e.data != "\x00\x12\xaa" {
			t.Errorf("got %q of type %d", e.data, e.kind)
		}
		testkit.Check(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte("grün")))
		all.gets("grün")
		if got := h.stored(t, "broadcast:f"); got != "grün" {
			t.Errorf("%q is stored", got)
		}
		h.publish(t, "broadcast:f", "\xff")
		if e := all.next(); e.kind != websocket.BinaryMessage || e.data != "\xff" {
			t.Errorf("got %q of type %d", e.data, e.kind)
		}
		late := h.dial(t, 0, "f?subscribe-broadcast", nil)
		if e := late.next(); e.kind != websocket.BinaryMessage || e.data != "\xff" {
			t.Errorf("got %q of type %d", e.data, e.kind)
		}
	})
}

// A native client and one of the older protocol meet in the same place.
func TestNatively(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		john := h.login(t, "john")
		c := h.dial(t, 1, "alerts?subscribe-user&publish-user&echo", cookie(john))
		stream, err := h.Publish.Consume(soon(t), &publishv1.ConsumeRequest{Address: "users/john/topics/alerts"})
		testkit.Check(t, err)
		_, err = stream.Recv()
		testkit.Check(t, err)
		c.send("from john")
		c.gets("from john")
		_, err = h.Publish.Publish(soon(t), &publishv1.PublishRequest{To: "users/john/topics/alerts", Data: []byte(`{"n":1}`)})
		testkit.Check(t, err)
		c.gets(`{"n":1}`)
		for _, want := range []string{"from john", `{"n":1}`} {
			r, err := stream.Recv()
			testkit.Check(t, err)
			if got := string(r.GetMessage().GetData()); got != want {
				t.Errorf("natively came %q, want %q", got, want)
			}
		}
		if got := h.stored(t, "user:john:alerts"); got != `{"n":1}` {
			t.Errorf("%q is stored", got)
		}
		// The plain address is another one.
		_, err = h.Publish.Publish(soon(t), &publishv1.PublishRequest{To: "users/john", Data: []byte(`2`)})
		testkit.Check(t, err)
		h.publish(t, "user:john:alerts", "next")
		c.gets("next")
	})
}

// What is kept ends with its time, and 0 keeps nothing.
func TestExpire(t *testing.T) {
	t.Run("in a second", func(t *testing.T) {
		everywhere(t, func(t *testing.T, h *deployment) {
			c := h.dial(t, 0, "f?publish-broadcast", nil)
			c.send("x")
			_ = c.closes(1000, "")
			testkit.Eventually(t, "it is forgotten", func() bool { return h.stored(t, "broadcast:f") == "" })
		}, with(func(f *facility.Settings) { f.Expire = time.Second }))
	})
	t.Run("never kept", func(t *testing.T) {
		everywhere(t, func(t *testing.T, h *deployment) {
			all := h.dial(t, 0, "f?subscribe-broadcast", nil)
			c := h.dial(t, 0, "f?publish-broadcast", nil)
			c.send("x")
			all.gets("x")
			if got := h.stored(t, "broadcast:f"); got != "" {
				t.Errorf("%q is stored", got)
			}
		}, with(func(f *facility.Settings) { f.Expire = 0 }))
	})
}

// A plain SET without an end, by somebody else, counts; so do the names without a prefix; and what was stored survives a restart.
func TestRedisNames(t *testing.T) {
	h := startRedis(t, with(func(f *facility.Settings) { f.Prefix = "" }))
	testkit.Check(t, h.old.Set(soon(t), "broadcast:f", "set by hand", 0).Err())
	c := h.dial(t, 0, "f?subscribe-broadcast&publish-broadcast", nil)
	c.gets("set by hand")
	testkit.Check(t, h.old.Publish(soon(t), "broadcast:f", "by hand").Err())
	c.gets("by hand")
	heard := h.old.Subscribe(soon(t), "broadcast:f")
	defer func() { _ = heard.Close() }()
	_, err := heard.Receive(soon(t))
	testkit.Check(t, err)
	c.send("of ours")
	m, err := heard.ReceiveMessage(soon(t))
	testkit.Check(t, err)
	if m.Payload != "of ours" {
		t.Errorf("an older server hears %q", m.Payload)
	}
	testkit.Eventually(t, "it is stored", func() bool { return h.old.Get(soon(t), "broadcast:f").Val() == "of ours" })
	if ttl := h.old.TTL(soon(t), "broadcast:f").Val(); ttl < 59*time.Minute || ttl > time.Hour {
		t.Errorf("it is kept for %s", ttl)
	}
}

// A session ends with its registration, and its sockets with it; registered again it is somebody else.
func TestSessions(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		john := h.login(t, "john", "red")
		c := h.dial(t, 0, "f?subscribe-user", cookie(john))
		h.publish(t, "user:john:f", "1")
		c.gets("1")
		_, err := h.sessions.UnregisterSession(soon(t), &legacyv1.UnregisterSessionRequest{Key: john})
		testkit.Check(t, err)
		if e := c.next(); e.err == nil {
			t.Errorf("the socket goes on with %q", e.data)
		}
		_, err = h.sessions.RegisterSession(soon(t), &legacyv1.RegisterSessionRequest{Key: john, User: "mary smith"})
		testkit.Check(t, err)
		mary := h.dial(t, 1, "f?subscribe-user&publish-user&echo", cookie(john))
		mary.send("I am mary")
		mary.gets("I am mary")
		if got := h.stored(t, "user:mary smith:f"); got != "I am mary" {
			t.Errorf("%q is stored", got)
		}
	}, closed)
}

// The site itself may say whose a session is; without its answer nobody is let in.
func TestResolver(t *testing.T) {
	var asked atomic.Int64
	var down atomic.Bool
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		c, err := r.Cookie("sessionid")
		switch {
		case down.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case err != nil || c.Value != "johns":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write([]byte(`{"user":"john","groups":["chat users"]}`))
		}
	}))
	t.Cleanup(site.Close)
	h := start(t, closed, with(func(f *facility.Settings) { f.Resolver.URL = config.Secret(site.URL + "/whois") }))
	for i := range 3 {
		facility := fmt.Sprint("f", i)
		c := h.dial(t, 0, facility+"?subscribe-user&subscribe-group&publish-group&echo", cookie("johns"))
		h.publish(t, "user:john:"+facility, "to john")
		c.gets("to john")
		c.send("to the group")
		c.gets("to the group")
	}
	_, err := h.sessions.RegisterSession(soon(t), &legacyv1.RegisterSessionRequest{Key: "registered", User: "mary"})
	testkit.Check(t, err)
	if n := asked.Load(); n != 1 {
		t.Errorf("the site was asked %d times", n)
	}
	if a := raw(t, h.at[0], handshake("GET /ws/f HTTP/1.1", map[string]string{"Cookie": "sessionid=unknown"})); a.status != 403 {
		t.Errorf("an unknown session: %d %q", a.status, a.body)
	}
	h.dial(t, 0, "f", cookie("registered"))
	down.Store(true)
	a := raw(t, h.at[0], handshake("GET /ws/f HTTP/1.1", map[string]string{"Cookie": "sessionid=other"}))
	if a.status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "whois") {
		t.Errorf("without an answer: %d %q", a.status, a.body)
	}
}
