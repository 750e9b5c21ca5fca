package pushserver_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

func TestTranscripts(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) { dialecttest.Replay(t, "testdata/*.txt", h.config()) })
}

// What is published natively reaches the clients of the push protocol, as a text each of them can take.
func TestNative_publishReachesClients(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		h.create(t, "news")
		clients := []*subscriber{h.dial(t, 0, "/"), h.dial(t, 1, "/")}
		for _, c := range clients {
			c.subscribe("news")
		}
		for _, tt := range []struct {
			kind       publishv1.ContentType
			data, want string
		}{
			{publishv1.ContentType_CONTENT_TYPE_TEXT, `"quoted" ä`, `"quoted" ä`},
			{publishv1.ContentType_CONTENT_TYPE_JSON, ` "a string\nä" `, "a string\nä"},
			{publishv1.ContentType_CONTENT_TYPE_JSON, `{"a": [1]}`, `{"a": [1]}`},
			{publishv1.ContentType_CONTENT_TYPE_JSON, `null`, `null`},
			{publishv1.ContentType_CONTENT_TYPE_JSON, ``, ``},
			{publishv1.ContentType_CONTENT_TYPE_BINARY, "\x00\xff", "AP8="},
		} {
			_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/news", Data: []byte(tt.data), ContentType: tt.kind})
			testkit.Check(t, err)
			for _, c := range clients {
				if got := c.pushed(); got != tt.want {
					t.Errorf("%s %q arrived as %q, want %q", tt.kind, tt.data, got, tt.want)
				}
			}
		}
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{
			To: "channels/news", Data: []byte(`"for one"`), Recipients: []string{clients[1].uuid},
		})
		testkit.Check(t, err)
		// To everybody and to the client alone: the protocol has no words for it.
		for _, to := range []string{"broadcast", "clients/" + clients[0].uuid, "clients/" + clients[1].uuid} {
			_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(`1`)})
			testkit.Check(t, err)
		}
		if got := clients[1].pushed(); got != "for one" {
			t.Errorf("the recipient got %q", got)
		}
		for i, c := range clients {
			if f := c.do(c.uuid, "SUBSCRIBE", "news"); f.Message != "Subscribed" {
				t.Errorf("client %d got %+v before the answer", i, f)
			}
		}
	})
}

// What is pushed reaches native subscribers, and its channel is a channel like any other.
func TestNative_pushReachesSubscribers(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		token := h.create(t, "news:eu")
		odd := h.create(t, "odd/näme")
		got := make(chan *publishv1.Message, 8)
		ended := make(chan string, 8)
		native := h.Connect(t, client.Config{
			OnMessage:      func(m *publishv1.Message) { got <- m },
			OnUnsubscribed: func(address string, _ error) { ended <- address },
		})
		const mapped = "channels/x-b2RkL27DpG1l"
		for _, a := range []string{"channels/news:eu", mapped} {
			_, err := native.Subscribe(t.Context(), client.Subscription{Address: a})
			testkit.Check(t, err)
		}
		for channel, token := range map[string]string{"news:eu": token, "odd/näme": odd} {
			if r := h.push(t, channel, token, "ä"); r.Message != "Sent" {
				t.Fatalf("push: %+v", r)
			}
			if m := <-got; string(m.GetData()) != "ä" || m.GetContentType() != publishv1.ContentType_CONTENT_TYPE_TEXT {
				t.Errorf("%s: got %v", channel, m)
			}
		}
		list, err := h.Channels.ListChannels(t.Context(), &publishv1.ListChannelsRequest{})
		testkit.Check(t, err)
		var names []string
		for _, c := range list.GetChannels() {
			names = append(names, c.GetName())
		}
		if !slices.Equal(names, []string{"channels/news:eu", mapped}) {
			t.Errorf("channels are %v", names)
		}
		if r := h.statistics(t); !slices.Equal(r.Data.Channels, []string{"news:eu", "odd/näme"}) || r.Data.Number != 2 {
			t.Errorf("statistics are %+v", r)
		}
		history, err := h.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/news:eu"})
		if err != nil || len(history.GetMessages()) != 1 {
			t.Errorf("history is %v, %v", history, err)
		}
		// A native channel's own token is good for the publisher's API.
		made, err := h.Channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/native"})
		testkit.Check(t, err)
		if r := h.push(t, "native", made.GetChannelToken(), "x"); r.Message != "Sent" {
			t.Errorf("push with a native token: %+v", r)
		}
		if r := h.act(t, "/channel/delete", "DELETE_CHANNEL", map[string]any{"channel": "news:eu", "channelToken": token}); r.Message != "Deleted" {
			t.Errorf("delete: %+v", r)
		}
		if a := <-ended; a != "channels/news:eu" {
			t.Errorf("%s has ended", a)
		}
	})
}

// A channel that is deleted natively is forgotten by every client of every edge.
func TestNative_deleteEndsSubscriptions(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		h.create(t, "gone")
		h.create(t, "stays")
		clients := []*subscriber{h.dial(t, 0, "/"), h.dial(t, 1, "/")}
		for _, c := range clients {
			c.subscribe("gone")
			c.subscribe("stays")
		}
		_, err := h.Channels.DeleteChannel(t.Context(), &publishv1.DeleteChannelRequest{Name: "channels/gone"})
		testkit.Check(t, err)
		for _, c := range clients {
			testkit.Eventually(t, "the channel is forgotten", func() bool {
				return slices.Equal(c.do(c.uuid, "SUBSCRIBE", "stays").Data.Subscribed, []string{"stays"})
			})
			if f := c.do("", "UNSUBSCRIBE", "gone"); f.Code != http.StatusNotFound {
				t.Errorf("unsubscribe was answered with %+v", f)
			}
		}
	})
}

// Channels, their tokens and odd names survive a restart on Redis; clients are counted over all nodes.
func TestRestart_onRedis(t *testing.T) {
	redis := apptest.Redis(redistest.Start(t).URL())
	first := start(t, redis)
	long := strings.Repeat("länge ", 100)
	token, odd := first.create(t, "kept"), first.create(t, long)
	testkit.Check(t, first.Processes[0].Stop())
	h := start(t, redis, apptest.Split(2))
	if r := h.statistics(t); !slices.Contains(r.Data.Channels, "kept") || !slices.Contains(r.Data.Channels, long) || r.Data.Number != 2 || r.Data.Clients != 0 {
		t.Errorf("statistics after the restart are %+v", r)
	}
	clients := []*subscriber{h.dial(t, 0, "/"), h.dial(t, 1, "/")}
	testkit.Eventually(t, "two clients are counted", func() bool { return h.statistics(t).Data.Clients == 2 })
	for _, c := range clients {
		c.subscribe("kept")
		c.subscribe(long)
	}
	for channel, token := range map[string]string{"kept": token, long: odd} {
		if r := h.push(t, channel, token, channel); r.Message != "Sent" {
			t.Fatalf("push: %+v", r)
		}
		for _, c := range clients {
			if got := c.pushed(); got != channel {
				t.Errorf("got %q, want %q", got, channel)
			}
		}
	}
	testkit.Check(t, clients[0].ws.Close())
	testkit.Eventually(t, "one client is counted", func() bool { return h.statistics(t).Data.Clients == 1 })
}

// More recipients than one message of ours may have: each gets it once.
func TestPush_manyRecipients(t *testing.T) {
	h := start(t)
	token := h.create(t, "many")
	c := h.dial(t, 0, "/")
	c.subscribe("many")
	var list []string
	for i := range 2500 {
		list = append(list, fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
	}
	list = append(list, strings.ToUpper(c.uuid), c.uuid, c.uuid)
	if r := h.push(t, "many", token, "once", list...); r.Message != "Sent" {
		t.Fatalf("push: %+v", r)
	}
	h.push(t, "many", token, "then")
	if a, b := c.pushed(), c.pushed(); a != "once" || b != "then" {
		t.Errorf("got %q and %q", a, b)
	}
}

// What is too much is refused in the protocol's shape. The protocol's own limits count, not those of native clients.
func TestLimits(t *testing.T) {
	h := start(t, apptest.With(func(c *config.Config) {
		settings(c).MaxMessage, settings(c).Channels, c.Channels.Created, c.Edge.ChannelsPerConnection = 1000, 2, 3, 1
	}))
	token := h.create(t, "a")
	h.create(t, "b")
	h.create(t, "c")
	if r := h.push(t, "a", token, strings.Repeat("x", 1001)); r.Type != "ERROR" || r.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large message: %+v", r)
	}
	if r := h.post(t, "/push", []byte(strings.Repeat(" ", 20_000_000)), nil); r.Type != "ERROR" || r.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %+v", r)
	}
	if r := h.act(t, "/channel/create", "CREATE_CHANNEL", map[string]any{"channel": "d"}); r.Type != "ERROR" || r.Code != http.StatusTooManyRequests {
		t.Errorf("a channel too many: %+v", r)
	}
	c := h.dial(t, 0, "/")
	c.subscribe("a")
	c.subscribe("b")
	if f := c.do("", "SUBSCRIBE", "c"); f.Type != "ERROR" || f.Code != http.StatusTooManyRequests {
		t.Errorf("a subscription too many: %+v", f)
	}
	c.do("", "UNSUBSCRIBE", "a")
	c.subscribe("c")
}

// A plain request is answered as the older library did, on any path; a subprotocol is not answered.
func TestHandshake(t *testing.T) {
	h := start(t)
	resp, err := http.Get("http://" + h.at[0] + "/anything")
	testkit.Check(t, err)
	body, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "WebSocket Upgrade Failure") ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("a plain request: %s %s", resp.Status, body)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"x", "trunkline.v1.json"}}
	ws, resp, err := dialer.DialContext(t.Context(), "ws://"+h.at[0]+"/v1/ws", http.Header{"Origin": {"http://elsewhere.example"}})
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	defer func() { testkit.Check(t, ws.Close()) }()
	if ws.Subprotocol() != "" {
		t.Errorf("the subprotocol %q was answered", ws.Subprotocol())
	}
	var f reply
	testkit.Check(t, ws.ReadJSON(&f))
	if f.Message != "Connected" || f.Data.Subscribed == nil {
		t.Errorf("the first frame is %+v", f)
	}
	if pong := make(chan struct{}, 1); ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) == nil {
		ws.SetPongHandler(func(string) error { pong <- struct{}{}; return io.EOF })
		if _, _, err := ws.ReadMessage(); len(pong) != 1 {
			t.Errorf("a ping was not answered: %v", err)
		}
	}
}

// Closed, an API key creates channels and reads the statistics, a token that grants it subscribes, and a channel's token
// is good for the rest.
func TestClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		create := []byte(`{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":"news"}}`)
		for path, body := range map[string][]byte{"/channel/create": create, "/sysadmin": nil} {
			if r := h.post(t, path, body, nil); r.Type != "ERROR" || r.Code != http.StatusUnauthorized || !strings.Contains(*r.Data.Details, "channels") {
				t.Errorf("%s without a key: %+v", path, r)
			}
			if r := h.post(t, path, body, http.Header{"Authorization": {"Bearer tlk_wrong_wrong"}}); r.Code != http.StatusUnauthorized {
				t.Errorf("%s with a wrong key: %+v", path, r)
			}
		}
		key := http.Header{"Authorization": {"Bearer " + h.AdminKey}}
		made := h.post(t, "/channel/create", create, key)
		if made.Code != http.StatusOK {
			t.Fatalf("with an API key: %+v", made)
		}
		if r := h.post(t, "/sysadmin", nil, key); r.Data.Number != 1 {
			t.Errorf("statistics: %+v", r)
		}
		if r := h.act(t, "/channel/ping", "PING_CHANNEL", map[string]any{"channel": "news", "channelToken": made.Data.Token}); r.Message != "OK" {
			t.Errorf("ping: %+v", r)
		}
		_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.at[0]+"/", nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("without a token: %v, %v", resp, err)
		}
		body, _ := io.ReadAll(resp.Body)
		testkit.Check(t, resp.Body.Close())
		if !strings.Contains(string(body), `"messageType":"ERROR"`) {
			t.Errorf("the refusal is %s", body)
		}
		grant := []*authv1.Grant{{Address: "channels/news", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE}}}
		issued, err := h.Auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{Grants: grant})
		testkit.Check(t, err)
		c := h.dial(t, 1, "/?token="+issued.GetToken())
		if c.uuid != issued.GetClient() {
			t.Errorf("the uuid is %s, the token's client %s", c.uuid, issued.GetClient())
		}
		for _, channel := range []string{"other", "nowhere"} { // whether it is there is not told
			if f := c.do("", "SUBSCRIBE", channel); f.Code != http.StatusForbidden {
				t.Errorf("%s: %+v", channel, f)
			}
		}
		c.subscribe("news")
		h.push(t, "news", made.Data.Token, "hello", c.uuid)
		if got := c.pushed(); got != "hello" {
			t.Errorf("got %q", got)
		}
		named, err := h.Auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "ada", Grants: grant})
		testkit.Check(t, err)
		ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.at[0]+"/", http.Header{"Authorization": {"Bearer " + named.GetToken()}})
		testkit.Check(t, err)
		testkit.Check(t, resp.Body.Close())
		defer func() { testkit.Check(t, ws.Close()) }()
		var f reply
		testkit.Check(t, ws.ReadJSON(&f))
		if _, _, err := ws.ReadMessage(); f.Code != http.StatusUnauthorized || !websocket.IsCloseError(err, 4401) {
			t.Errorf("a client that is no UUID: %+v, %v", f, err)
		}
	}, apptest.Closed())
}

// A client that answers no ping is dropped and not counted any more; one that does stays.
func TestPing(t *testing.T) {
	h := start(t, apptest.With(func(c *config.Config) { c.Edge.PingInterval = time.Second }))
	pinged := make(chan struct{}, 16)
	good := h.dial(t, 0, "/")
	good.ws.SetPingHandler(func(payload string) error {
		pinged <- struct{}{}
		return good.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
	})
	h.dial(t, 0, "/") // reads nothing, so it answers nothing
	testkit.Eventually(t, "both are counted", func() bool { return h.statistics(t).Data.Clients == 2 })
	done := make(chan struct{})
	testkit.Check(t, good.ws.SetReadDeadline(time.Now().Add(30*time.Second)))
	go func() { defer close(done); _, _, _ = good.ws.ReadMessage() }()
	testkit.Eventually(t, "one is counted", func() bool { return h.statistics(t).Data.Clients == 1 })
	for range 3 {
		<-pinged
	}
	testkit.Check(t, good.ws.Close())
	<-done
}
