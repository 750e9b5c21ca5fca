package facility_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
)

// Several messages in one read of Redis were handled one at each wake-up; the rest waited for the next event.
func TestFault_BurstWaitsForTheNextEvent(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		c := h.dial(t, 0, "f?subscribe-broadcast", nil)
		const burst = 500
		if h.old == nil {
			for i := range burst {
				h.publish(t, "broadcast:f", fmt.Sprint(i))
			}
		} else {
			pipe := h.old.Pipeline()
			for i := range burst {
				pipe.Publish(soon(t), "ws4redis:broadcast:f", fmt.Sprint(i))
			}
			_, err := pipe.Exec(soon(t))
			testkit.Check(t, err)
		}
		for i := range burst {
			c.gets(fmt.Sprint(i))
		}
	})
}

// All who were not signed in shared the audiences of one "user", whose name was a Python object's.
func TestFault_AnonymousSocketsShareAUser(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a := h.dial(t, 0, "f?subscribe-user&subscribe-group&subscribe-broadcast", nil)
		b := h.dial(t, 1, "f?publish-user&publish-group", nil)
		b.send("to everybody who is nobody")
		_ = b.closes(1000, "")
		h.publish(t, "broadcast:f", "to everybody")
		a.gets("to everybody")
		if h.old != nil {
			names, err := h.old.Keys(soon(t), "ws4redis:*").Result()
			testkit.Check(t, err)
			if len(names) != 1 {
				t.Errorf("Redis has %q", names)
			}
		}
	})
}

// Without a cookie a session audience was an error after the handshake; with an unknown one everybody shared session:None.
func TestFault_UnknownSessionsShareNone(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		for i, header := range []http.Header{nil, cookie("unknown"), cookie("")} {
			f := fmt.Sprint("f", i)
			a := h.dial(t, 0, f+"?subscribe-session&subscribe-broadcast", header)
			b := h.dial(t, 1, f+"?publish-session", header)
			b.send("to the same session")
			if bye := b.closes(1000, ""); bye.Code != 1000 {
				t.Errorf("closed with %v", bye)
			}
			h.publish(t, "session:None:"+f, "to nobody")
			h.publish(t, "broadcast:"+f, "to everybody")
			a.gets("to everybody")
		}
	})
}

// Bytes that are no UTF-8 were sent as text, at which every receiver failed.
func TestFault_BytesSentAsText(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		all := h.dial(t, 0, "f?subscribe-broadcast", nil)
		h.publish(t, "broadcast:f", "\xc3\x28")
		if e := all.next(); e.kind != websocket.BinaryMessage || e.data != "\xc3\x28" || e.err != nil {
			t.Errorf("got %+v", e)
		}
		h.publish(t, "broadcast:f", "text")
		all.gets("text")
	})
}

// Text that is not ASCII was refused, or ended the loop of everybody; text that is no UTF-8 ends its own socket.
func TestFault_TextThatIsNotASCII(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		all := h.dial(t, 0, "f?subscribe-broadcast", nil)
		c := h.dial(t, 1, "f?publish-broadcast", nil)
		c.send("grüße, 世界 🎉")
		all.gets("grüße, 世界 🎉")
		c.send("\xff\xfe")
		var bye *websocket.CloseError
		if e := c.next(); !errors.As(e.err, &bye) || bye.Code != 1007 {
			t.Errorf("got %+v", e)
		}
		h.publish(t, "broadcast:f", "others go on")
		all.gets("others go on")
	})
}

// Several subprotocols were answered with the list of them, which browsers refuse.
func TestFault_ListOfSubprotocols(t *testing.T) {
	h := start(t)
	d := websocket.Dialer{Subprotocols: []string{"one", "two"}}
	ws, resp, err := d.DialContext(soon(t), "ws://"+h.at[0]+"/ws/f", nil)
	testkit.Check(t, err)
	_ = resp.Body.Close()
	defer func() { _ = ws.Close() }()
	if got := resp.Header["Sec-Websocket-Protocol"]; len(got) != 1 || got[0] != "one" {
		t.Errorf("answered with %q", got)
	}
}

// What was published at once after the handshake was lost; what was stored and published at the same time came twice.
func TestFault_MessagesLostOrTwiceAtTheHandshake(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		for i := range 50 {
			c := h.dial(t, i, fmt.Sprint("f", i, "?subscribe-broadcast"), nil)
			h.publish(t, fmt.Sprint("broadcast:f", i), "at once")
			c.gets("at once")
		}
		stop := make(chan struct{})
		var g errgroup.Group
		from := h.dial(t, 0, "busy?publish-broadcast", nil)
		g.Go(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := from.ws.WriteMessage(websocket.TextMessage, []byte(fmt.Sprint(i))); err != nil {
					return err
				}
			}
		})
		for i := range 20 {
			c := h.dial(t, i, "busy?subscribe-broadcast", nil)
			var next int
			for n := range 20 {
				e := c.next()
				var got int
				if _, err := fmt.Sscan(e.data, &got); err != nil || n > 0 && got != next {
					t.Fatalf("got %+v, want %d", e, next)
				}
				next = got + 1
			}
			_ = c.closes(1000, "")
		}
		close(stop)
		testkit.Check(t, g.Wait())
	}, apptest.With(func(c *config.Config) { c.Edge.CommandsPerSecond, c.Edge.CommandBurst = 1e6, 1e6 }))
}

// Everything was permitted unless something was said, a misspelt policy permitted everything, and nobody looked at the origin.
func TestFault_OpenByDefault(t *testing.T) {
	h := start(t, closed, with(func(f *facility.Settings) {
		f.AllowedOrigins = []string{"https://app.example.com", "https://*.shop.example", "capacitor://app"}
	}))
	if a := raw(t, h.at[0], handshake("GET /ws/f?subscribe-broadcast HTTP/1.1", nil)); a.status != 403 {
		t.Errorf("without credentials: %d %s", a.status, a.body)
	}
	john := "sessionid=" + h.login(t, "john")
	for origin, status := range map[string]int{
		"": 101, "http://localhost:3000": 101, "https://localhost": 101, "https://app.example.com": 101,
		"https://APP.example.com:443": 101, "https://eu.shop.example": 101, "capacitor://app": 101, "https://a.b.shop.example": 403,
		"https://app.example.com#": 403, "https://localhost#": 403, "https://u@localhost": 403, "capacitor://localhost": 403,
		"http://evil.example": 403, "null": 403, "http://localhost.evil.example": 403, "http://app.example.com": 403,
	} {
		if a := raw(t, h.at[0], handshake("GET /ws/f HTTP/1.1", map[string]string{"Origin": origin, "Cookie": john})); a.status != status {
			t.Errorf("origin %q: %d %s", origin, a.status, a.body)
		}
	}
	file := filepath.Join(t.TempDir(), "trunkline.yaml")
	testkit.Check(t, os.WriteFile(file, []byte("hooks: {authoriser: {address: x:1}}\n"), 0o600))
	if _, err := app.Load(config.Sources{Files: []string{file}}); err == nil || !strings.Contains(err.Error(), "authoriser") {
		t.Errorf("a misspelt policy: %v", err)
	}
}

// The text of exceptions was sent to clients, and a key that is no base64 was one.
func TestFault_ExceptionText(t *testing.T) {
	h := start(t)
	a := raw(t, h.at[0], handshake("GET /ws/f HTTP/1.1", map[string]string{"Sec-WebSocket-Key": "!!<script>"}))
	if a.status != 400 || a.body != "Invalid key: !!&lt;script&gt;" || !a.closed {
		t.Errorf("got %d %q", a.status, a.body)
	}
}

// A user "a:b" in the facility "c" was the user "a" in the facility "b:c".
func TestFault_AmbiguousKeys(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, ab := cookie(h.login(t, "a")), cookie(h.login(t, "a:b"))
		one := h.dial(t, 0, "b:c?subscribe-user&publish-user&echo", a)
		two := h.dial(t, 1, "c?subscribe-user&publish-user&echo", ab)
		two.send("of a:b")
		two.gets("of a:b")
		one.send("of a")
		one.gets("of a")
		two.send("of a:b again")
		two.gets("of a:b again")
		if got := h.stored(t, "user:a:b:c"); got != "of a" {
			t.Errorf("%q is stored", got)
		}
		if got := h.dial(t, 0, "c?subscribe-user", ab).kept(); got != "of a:b again" {
			t.Errorf("%q is stored for a:b", got)
		}
	})
	names := facility.NewNames("P")
	for name, want := range map[string]string{
		"P:broadcast:f": "broadcast/topics/f", "P:broadcast:": "broadcast/topics/x-", "P:broadcast:a:b/c": "broadcast/topics/x-YTpiL2M",
		"P:user:john:f": "users/john/topics/f", "P:group:chat users:f": "groups/chat%20users/topics/f", "P:user:a:b:c": "users/a/topics/b:c",
		"P:session:k:": "sessions/k/topics/x-",
	} {
		a, ok := names.Address(name)
		back, _ := names.Name(a)
		if !ok || a.String() != want || back != name {
			t.Errorf("%s is %s, and back %s", name, a, back)
		}
	}
	for _, name := range []string{"", "P", "P:", "P:broadcast", "P:user:john", "P:user::f", "P:client:x:f", "Q:broadcast:f", "P:broadcast:" + strings.Repeat("x", 300), "P:broadcast:\xff"} {
		if a, ok := names.Address(name); ok {
			t.Errorf("%q is %s", name, a)
		}
	}
}

// A heartbeat followed every single event.
func TestFault_HeartbeatAfterEveryEvent(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		c := h.dial(t, 0, "f?subscribe-broadcast", nil)
		for i := range 100 {
			h.publish(t, "broadcast:f", fmt.Sprint(i))
		}
		beats := 0
		for i := 0; i < 100; {
			e := c.next()
			if e.data == "beat" {
				beats++
				continue
			}
			if e.data != fmt.Sprint(i) {
				t.Fatalf("got %+v, want %d", e, i)
			}
			i++
		}
		if beats > 10 {
			t.Errorf("%d heartbeats among 100 messages", beats)
		}
	}, with(func(f *facility.Settings) { f.Heartbeat = "beat" }))
}

// Keeping nothing was an error.
func TestFault_ExpireOff(t *testing.T) {
	h := startRedis(t, with(func(f *facility.Settings) { f.Expire = 0 }))
	c := h.dial(t, 0, "f?subscribe-broadcast&publish-broadcast&echo", nil)
	c.send("x")
	c.gets("x")
	if n := h.old.Exists(soon(t), "ws4redis:broadcast:f").Val(); n != 0 {
		t.Error("it is kept")
	}
}
