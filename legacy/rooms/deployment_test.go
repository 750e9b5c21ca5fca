package rooms_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/rooms"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

// deployment is a running system that speaks rooms, and where it does.
type deployment struct {
	*apptest.Deployment
	at []string
}

// start starts one.
func start(t *testing.T, opts ...apptest.Option) *deployment {
	t.Helper()
	h := &deployment{Deployment: apptest.Start(t, append([]apptest.Option{apptest.Legacy("rooms")}, opts...)...)}
	h.at = h.Listeners("legacy.rooms.listen")
	return h
}

// everywhere runs a test on one process in memory, and on two edges over Redis.
func everywhere(t *testing.T, test func(t *testing.T, h *deployment), opts ...apptest.Option) {
	t.Helper()
	apptest.Everywhere(t, start, test, opts...)
}

// settings returns those of the protocol, which may be changed.
func settings(c *config.Config) *rooms.Settings {
	p, _ := config.ProtocolOf[*rooms.Rooms](c.Legacy)
	return &p.Settings
}

// with edits how the protocol is spoken.
func with(edit func(r *rooms.Settings)) apptest.Option {
	return apptest.With(func(c *config.Config) { edit(settings(c)) })
}

func (h *deployment) config() dialecttest.Config {
	return dialecttest.Config{Addresses: h.at, Values: map[string]string{"run": rand.Text()}}
}

// client is one connection, as a program of the older system has it.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// frame is what the server sends.
type frame struct {
	ID   string `json:"id"`
	Type int    `json:"type"`
	Body struct {
		Command string          `json:"command"`
		Data    json.RawMessage `json:"data"`
	} `json:"body"`
	ClientID string `json:"clientID"`
}

// dial connects to one of the edges, and returns when it has been told.
func (h *deployment) dial(t *testing.T, edge int) *client {
	t.Helper()
	c := h.connect(t, edge, "/ws/1", nil)
	c.get("newUser")
	return c
}

// as is dial with an id.
func (h *deployment) as(t *testing.T, edge int, id string) *client {
	t.Helper()
	c := h.dial(t, edge)
	c.send("setID", id)
	return c
}

// connect connects on a path; the caller reads what comes first.
func (h *deployment) connect(t *testing.T, edge int, path string, header http.Header) *client {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.at[edge%len(h.at)]+path, header)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return &client{t: t, ws: ws}
}

// refused tries to connect, and returns the status and body of the refusal.
func (h *deployment) refused(t *testing.T, path string, header http.Header) (int, string) {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.at[0]+path, header)
	if err == nil {
		_ = ws.Close()
		t.Fatalf("%s was let in", path)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(body)
}

func (c *client) send(command string, data any) {
	c.t.Helper()
	testkit.Check(c.t, c.ws.WriteJSON(map[string]any{"command": command, "data": data}))
}

// message sends a message to an id, or to everybody.
func (c *client) message(to string, text any) {
	c.t.Helper()
	data := map[string]any{"text": text}
	if to != "" {
		data["to"] = to
	}
	c.send("sendMessage", data)
}

func (c *client) next() frame {
	c.t.Helper()
	f, err := c.read()
	testkit.Check(c.t, err)
	return f
}

func (c *client) read() (frame, error) {
	var f frame
	if err := c.ws.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return f, err
	}
	err := c.ws.ReadJSON(&f)
	return f, err
}

// get reads on to the next frame of a command.
func (c *client) get(command string) frame {
	c.t.Helper()
	for {
		if f := c.next(); f.Body.Command == command {
			return f
		}
	}
}

// before reads the messages that come before the answer to newID: everything that was delivered already.
func (c *client) before() []frame {
	c.t.Helper()
	c.send("newID", nil)
	var all []frame
	for {
		f := c.next()
		switch f.Body.Command {
		case "clientID":
			return all
		case "newUser", "userDisconnected":
		default:
			all = append(all, f)
		}
	}
}

// refusal reads the next frame, an error.
func (c *client) refusal() (reason, message string) {
	c.t.Helper()
	f := c.get("error")
	var data struct{ Reason, Message string }
	testkit.Check(c.t, json.Unmarshal(f.Body.Data, &data))
	return data.Reason, data.Message
}

// text is the text of a message.
func (f frame) text(t *testing.T) string {
	t.Helper()
	var data struct{ Text any }
	testkit.Check(t, json.Unmarshal(f.Body.Data, &data))
	return fmt.Sprint(data.Text)
}

// members is how many connections the server counts in the pool of all rooms.
func (h *deployment) members(t *testing.T) int {
	t.Helper()
	resp, err := h.Channels.ListMembers(t.Context(), &publishv1.ListMembersRequest{Address: "channels/rooms:all"})
	testkit.Check(t, err)
	return int(resp.GetTotalSize())
}

// waiting is how many messages wait for the acks of a client.
func (h *deployment) waiting(t *testing.T, id string) int {
	t.Helper()
	resp, err := publishv1.NewInboxServiceClient(apptest.Dial(t, h.GRPC, h.AdminKey)).
		GetInboxStats(t.Context(), &publishv1.GetInboxStatsRequest{Address: "clients/" + id})
	testkit.Check(t, err)
	return int(resp.GetCount())
}
