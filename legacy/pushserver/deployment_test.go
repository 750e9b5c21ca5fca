package pushserver_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/pushserver"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

// deployment is a running system that speaks the push protocol, and where it does.
type deployment struct {
	*apptest.Deployment
	http string
	at   []string
}

func start(t *testing.T, opts ...apptest.Option) *deployment {
	t.Helper()
	h := &deployment{Deployment: apptest.Start(t, append([]apptest.Option{apptest.Legacy("pushserver")}, opts...)...)}
	h.http = h.Legacy["pushserver.http"]
	h.at = h.Listeners("legacy.pushserver.websocket_listen")
	return h
}

// everywhere runs a test on one process in memory, and on two edges over Redis.
func everywhere(t *testing.T, test func(t *testing.T, h *deployment), opts ...apptest.Option) {
	t.Helper()
	apptest.Everywhere(t, start, test, opts...)
}

// settings returns the protocol's, which may be changed.
func settings(c *config.Config) *pushserver.Settings {
	p, _ := config.ProtocolOf[*pushserver.PushServer](c.Legacy)
	return &p.Settings
}

func (h *deployment) config() dialecttest.Config {
	return dialecttest.Config{Addresses: h.at, HTTP: h.http, Values: map[string]string{"run": rand.Text()}}
}

// reply is an answer of the publisher's API, or a frame.
type reply struct {
	Type    string `json:"messageType"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Channel  string   `json:"channel"`
		Token    string   `json:"channelToken"`
		Details  *string  `json:"errorDetails"`
		Channels []string `json:"channels"`
		Number   int      `json:"channelsAmount"`
		Clients  int      `json:"clientsAmount"`

		UUID       string   `json:"uuid"`
		Subscribed []string `json:"subscribedChannels"`
		Push       struct {
			Channel string `json:"channel"`
			Message string `json:"message"`
		} `json:"pushMessage"`
	} `json:"data"`
}

// post sends a body and returns the answer; header may be nil.
func (h *deployment) post(t *testing.T, path string, body []byte, header http.Header) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.http+path, bytes.NewReader(body))
	testkit.Check(t, err)
	if header != nil {
		req.Header = header
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	defer func() { testkit.Check(t, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	var r reply
	if err := json.Unmarshal(text, &r); err != nil || r.Code != resp.StatusCode || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s %s", path, resp.StatusCode, resp.Header, text)
	}
	return r
}

// act sends a SERVER_ACTION.
func (h *deployment) act(t *testing.T, path, action string, data map[string]any) reply {
	t.Helper()
	body, err := json.Marshal(map[string]any{"messageType": "SERVER_ACTION", "action": action, "data": data})
	testkit.Check(t, err)
	return h.post(t, path, body, nil)
}

// create makes a channel and returns its token.
func (h *deployment) create(t *testing.T, channel string) string {
	t.Helper()
	r := h.act(t, "/channel/create", "CREATE_CHANNEL", map[string]any{"channel": channel})
	if r.Code != http.StatusOK || len(r.Data.Token) != 128 || r.Data.Channel != channel {
		t.Fatalf("create %q: %+v", channel, r)
	}
	return r.Data.Token
}

// push sends a message; nil recipients are everybody.
func (h *deployment) push(t *testing.T, channel, token, message string, recipients ...string) reply {
	t.Helper()
	return h.act(t, "/push", "PUSH_MESSAGE", map[string]any{
		"channel": channel, "channelToken": token, "recipients": append([]string{}, recipients...), "message": message,
	})
}

func (h *deployment) statistics(t *testing.T) reply {
	t.Helper()
	return h.post(t, "/sysadmin", nil, nil)
}

// subscriber is one connection.
type subscriber struct {
	t    *testing.T
	ws   *websocket.Conn
	uuid string
}

// dial connects to one of the edges.
func (h *deployment) dial(t *testing.T, edge int, path string) *subscriber {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.at[edge%len(h.at)]+path, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	c := &subscriber{t: t, ws: ws}
	f := c.next()
	if f.Type != "CLIENT_ACK" || f.Message != "Connected" {
		t.Fatalf("the first frame is %+v", f)
	}
	c.uuid = f.Data.UUID
	return c
}

func (c *subscriber) next() reply {
	c.t.Helper()
	testkit.Check(c.t, c.ws.SetReadDeadline(time.Now().Add(15*time.Second)))
	var f reply
	testkit.Check(c.t, c.ws.ReadJSON(&f))
	return f
}

// do sends a command, in the name of a uuid unless it is empty, and returns the answer.
func (c *subscriber) do(uuid, action, channel string) reply {
	c.t.Helper()
	m := map[string]any{"messageType": "CLIENT_ACTION", "action": action, "data": map[string]string{"channel": channel}}
	if uuid != "" {
		m["uuid"] = uuid
	}
	testkit.Check(c.t, c.ws.WriteJSON(m))
	return c.next()
}

func (c *subscriber) subscribe(channel string) {
	c.t.Helper()
	if f := c.do("", "SUBSCRIBE", channel); f.Message != "Subscribed" {
		c.t.Fatalf("subscribe to %q was answered with %+v", channel, f)
	}
}

// pushed reads the next frame, a push, and returns its text.
func (c *subscriber) pushed() string {
	c.t.Helper()
	f := c.next()
	if f.Type != "CLIENT_PUSH" {
		c.t.Fatalf("got %+v, want a push", f)
	}
	return f.Data.Push.Message
}

// members is how many connections are subscribed to an address.
func (h *deployment) members(t *testing.T, address string) int {
	t.Helper()
	resp, err := h.Channels.ListMembers(t.Context(), &publishv1.ListMembersRequest{Address: address})
	testkit.Check(t, err)
	return int(resp.GetTotalSize())
}
