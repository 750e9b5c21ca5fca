package pushserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/pushserver"
)

// The faults of the older server, each of which is not here.

// A client could subscribe and unsubscribe another one: the refusal did not end the command.
func TestFault_actingForAnotherClient(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		token := h.create(t, "news")
		a, b := h.dial(t, 0, "/"), h.dial(t, 1, "/")
		b.subscribe("news")
		for _, action := range []string{"SUBSCRIBE", "UNSUBSCRIBE"} {
			for _, uuid := range []string{b.uuid, strings.ToUpper(b.uuid)} {
				const details = "The given UUID does not belong to this WebSocket connection"
				testkit.Eventually(t, "the roster knows both", func() bool {
					f := a.do(uuid, action, "news")
					if f.Code != http.StatusForbidden || f.Message != "Forbidden" || f.Type != "ERROR" {
						t.Fatalf("%s for another was answered with %+v", action, f)
					}
					return *f.Data.Details == details
				})
			}
		}
		h.push(t, "news", token, "x")
		if got := b.pushed(); got != "x" {
			t.Errorf("the other one got %q", got)
		}
		if f := a.do(strings.ToUpper(a.uuid), "UNSUBSCRIBE", "news"); f.Message != "Unsubscribed" || len(f.Data.Subscribed) != 0 {
			t.Errorf("the next frame is %+v", f)
		}
	})
}

// Closed clients leaked with their subscriptions.
func TestFault_closedClientsLeak(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		h.create(t, "news")
		const n = 40
		var all []*subscriber
		for i := range n {
			c := h.dial(t, i, "/")
			c.subscribe("news")
			all = append(all, c)
		}
		testkit.Eventually(t, "all are counted", func() bool { return h.statistics(t).Data.Clients == n })
		for i, c := range all {
			if i%2 == 0 { // with a close frame, or without
				testkit.Check(t, c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second)))
			}
			testkit.Check(t, c.ws.Close())
		}
		testkit.Eventually(t, "nobody is counted", func() bool { return h.statistics(t).Data.Clients == 0 })
		testkit.Eventually(t, "nobody is subscribed", func() bool { return h.members(t, "channels/news") == 0 })
	})
}

// A client that subscribed twice got every message twice, and had to unsubscribe twice.
func TestFault_subscribedTwice(t *testing.T) {
	h := start(t)
	token := h.create(t, "news")
	c := h.dial(t, 0, "/")
	c.subscribe("news")
	if f := c.do("", "SUBSCRIBE", "news"); f.Message != "Subscribed" || !slices.Equal(f.Data.Subscribed, []string{"news"}) {
		t.Errorf("the second subscribe was answered with %+v", f)
	}
	h.push(t, "news", token, "once")
	h.push(t, "news", token, "then")
	if a, b := c.pushed(), c.pushed(); a != "once" || b != "then" {
		t.Errorf("got %q and %q", a, b)
	}
	if f := c.do("", "UNSUBSCRIBE", "news"); len(f.Data.Subscribed) != 0 {
		t.Errorf("one unsubscribe left %v", f.Data.Subscribed)
	}
}

// Anything that is not ASCII broke the answer, and the statistics for good.
func TestFault_notASCII(t *testing.T) {
	h := start(t)
	const name, text = "Größe 😀 \u2028", "日本語 ☃ \x00 \" \\ </script>"
	token := h.create(t, name)
	c := h.dial(t, 0, "/")
	c.subscribe(name)
	if r := h.push(t, name, token, text); r.Message != "Sent" || r.Data.Channel != name {
		t.Errorf("push: %+v", r)
	}
	if f := c.next(); f.Data.Push.Channel != name || f.Data.Push.Message != text {
		t.Errorf("got %+v", f)
	}
	if r := h.statistics(t); !slices.Equal(r.Data.Channels, []string{name}) {
		t.Errorf("statistics: %+v", r)
	}
	if r := h.post(t, "/push", []byte("{\"a\":\"\xff\"}"), nil); r.Code != http.StatusBadRequest || *r.Data.Details != "{\"a\":\"\ufffd\"}" {
		t.Errorf("what is no UTF-8: %+v", r)
	}
}

// Anybody could create channels and read all their names; see TestClosed for what it takes here.
func TestFault_anybodyMayCreate(t *testing.T) {
	h := start(t, apptest.Closed())
	for _, path := range []string{"/channel/create", "/sysadmin"} {
		body := []byte(`{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":"news"}}`)
		if r := h.post(t, path, body, nil); r.Code != http.StatusUnauthorized {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

// Tokens came from a generator that can be guessed.
func TestFault_tokensCanBeGuessed(t *testing.T) {
	h := start(t, apptest.Redis(redistest.Start(t).URL()))
	form := regexp.MustCompile(`^[A-Za-z0-9.+*#@:>-]{128}$`)
	seen := map[string]bool{}
	count := map[rune]int{}
	for i := range 50 {
		token := h.create(t, fmt.Sprint(i))
		if !form.MatchString(token) || seen[token] {
			t.Errorf("the token %q", token)
		}
		seen[token] = true
		for _, c := range token {
			count[c]++
		}
	}
	// 6400 characters of 70: each about 91 times, with a deviation of 9.5.
	for c, n := range count {
		if n < 30 || n > 160 {
			t.Errorf("%q came %d times", c, n)
		}
	}
	if len(count) != 70 {
		t.Errorf("%d characters came", len(count))
	}
}

// One exception while sending ended all sending for good; several threads broke the queue.
func TestFault_senderThreadEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		const publishers, each = 4, 50
		token := h.create(t, "news")
		broken, good := h.dial(t, 0, "/"), []*subscriber{h.dial(t, 0, "/"), h.dial(t, 1, "/")}
		for _, c := range append(good, broken) {
			c.subscribe("news")
		}
		tcp, ok := broken.ws.NetConn().(*net.TCPConn)
		if !ok {
			t.Fatal("not a TCP connection")
		}
		testkit.Check(t, tcp.SetLinger(0)) // a reset while messages are sent to it
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					if r := h.push(t, "news", token, fmt.Sprintf("%d %d", p, i)); r.Message != "Sent" {
						t.Errorf("push: %+v", r)
					}
					if p == 0 && i == each/2 {
						_ = tcp.Close()
					}
				}
			})
		}
		for _, c := range good {
			var next [publishers]int
			for range publishers * each {
				var p, i int
				_, err := fmt.Sscanf(c.pushed(), "%d %d", &p, &i)
				testkit.Check(t, err)
				if i != next[p] {
					t.Fatalf("of publisher %d came %d, want %d", p, i, next[p])
				}
				next[p]++
			}
		}
		wg.Wait()
	})
}

// Maps were shared by threads without locks.
func TestFault_sharedMaps(t *testing.T) {
	h := start(t)
	var wg sync.WaitGroup
	for w := range 8 {
		c := h.dial(t, 0, "/")
		wg.Go(func() {
			channel := fmt.Sprintf("c%d", w%4) // two workers have one channel
			for range 20 {
				made := h.act(t, "/channel/create", "CREATE_CHANNEL", map[string]any{"channel": channel})
				testkit.Check(t, c.ws.WriteJSON(map[string]any{"messageType": "CLIENT_ACTION", "action": "SUBSCRIBE", "data": map[string]string{"channel": channel}}))
				for f := c.next(); f.Type == "CLIENT_PUSH"; f = c.next() {
				}
				if made.Code == http.StatusOK {
					h.push(t, channel, made.Data.Token, "x")
					h.act(t, "/channel/delete", "DELETE_CHANNEL", map[string]any{"channel": channel, "channelToken": made.Data.Token})
				}
			}
		})
	}
	wg.Wait()
	if r := h.statistics(t); r.Data.Number != 0 || r.Data.Clients != 8 {
		t.Errorf("statistics: %+v", r)
	}
}

// One slow body held up everybody.
func TestFault_slowBody(t *testing.T) {
	h := start(t)
	for range 5 {
		slow, err := net.Dial("tcp", h.http)
		testkit.Check(t, err)
		defer func() { testkit.Check(t, slow.Close()) }()
		_, err = io.WriteString(slow, "POST /push HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
		testkit.Check(t, err)
	}
	began := time.Now()
	h.create(t, "news")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Answers had no Content-Type. The request's is not looked at, as before: publishers send what they like.
func TestFault_noContentType(t *testing.T) {
	h := start(t)
	for i, kind := range []string{"", "application/x-www-form-urlencoded", "text/plain"} {
		body := []byte(fmt.Sprintf(`{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":"%d"}}`, i))
		if r := h.post(t, "/channel/create", body, http.Header{"Content-Type": {kind}}); r.Code != http.StatusOK { // post looks at the answer's
			t.Errorf("%q: %+v", kind, r)
		}
	}
}

// Without its file the script was not answered at all.
func TestFault_missingScript(t *testing.T) {
	h := start(t)
	resp, err := http.Get("http://" + h.http + "/js/pushserver.js")
	testkit.Check(t, err)
	body, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "class PushServer") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%s %s %.40s", resp.Status, resp.Header, body)
	}
}

// Outside Docker the ports were the reverse of the documented ones.
func TestFault_portsReversed(t *testing.T) {
	at := pushserver.New().Settings
	if at.WebSocket != "localhost:5222" || at.HTTP != "localhost:5223" {
		t.Errorf("it listens at %+v", at)
	}
}

// Text after a JSON value passed, and then failed in silence.
func TestFault_textAfterTheValue(t *testing.T) {
	h := start(t)
	h.create(t, "news")
	c := h.dial(t, 0, "/")
	command := `{"messageType":"CLIENT_ACTION","uuid":"` + c.uuid + `","action":"SUBSCRIBE","data":{"channel":"news"}} x`
	testkit.Check(t, c.ws.WriteMessage(websocket.TextMessage, []byte(command)))
	if f := c.next(); f.Message != "Bad JSON" || *f.Data.Details != command {
		t.Errorf("got %+v", f)
	}
	body, err := json.Marshal(map[string]any{"messageType": "SERVER_ACTION", "action": "CREATE_CHANNEL", "data": map[string]string{"channel": "x"}})
	testkit.Check(t, err)
	if r := h.post(t, "/channel/create", append(body, " {}"...), nil); r.Code != http.StatusBadRequest || *r.Data.Details != string(body)+" {}" {
		t.Errorf("got %+v", r)
	}
}
