package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// frames reads the frames of a socket of an older protocol until one is wanted.
type frames struct {
	tb testing.TB
	ws *websocket.Conn
}

func openFrames(tb testing.TB, url string) *frames {
	tb.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(tb.Context(), url, nil)
	testkit.Check(tb, err)
	tb.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
	return &frames{tb, ws}
}

func (f *frames) send(text string) {
	f.tb.Helper()
	testkit.Check(f.tb, f.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

// until returns the first frame that has all the texts in it.
func (f *frames) until(texts ...string) string {
	f.tb.Helper()
	testkit.Check(f.tb, f.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		_, data, err := f.ws.ReadMessage()
		if err != nil {
			f.tb.Fatalf("waiting for %q: %v", texts, err)
		}
		all := true
		for _, t := range texts {
			all = all && strings.Contains(string(data), t)
		}
		if all {
			return string(data)
		}
	}
}

func post(tb testing.TB, url, body string) string {
	tb.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	testkit.Check(tb, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	testkit.Check(tb, err)
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %s %s", url, res.Status, text)
	}
	return string(text)
}

// All four older protocols at once: messages go from each to each other one where their words allow it, and to and from
// native clients. The table of docs/dialects.md.
func TestDialects_cross(t *testing.T) {
	redis := redistest.Start(t)
	for name, store := range map[string]string{"memory": "", "redis": redis.URL()} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, apptest.Dev(), apptest.Redis(store), apptest.With(func(c *config.Config) { c.Legacy.Dialects = []string{"all"} }))
			relayHTTP, pushHTTP := "http://"+h.Legacy["relay.http"], "http://"+h.Legacy["pushserver.http"]

			var relayToken struct{ Token string }
			_, body := get(relayHTTP + "/token")
			testkit.Check(t, json.Unmarshal([]byte(body), &relayToken))
			relay := openFrames(t, "ws://"+h.Legacy["relay.websocket"]+"/ws?token="+relayToken.Token)

			var made struct{ Data struct{ ChannelToken string } }
			testkit.Check(t, json.Unmarshal([]byte(post(t, pushHTTP+"/channel/create", `{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":"rooms:all"}}`)), &made))
			push := openFrames(t, "ws://"+h.Legacy["pushserver.websocket"]+"/")
			push.until("Connected")
			push.send(`{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE","data":{"channel":"rooms:all"}}`)
			push.until("Subscribed")

			rooms := openFrames(t, "ws://"+h.Legacy["rooms.listen"]+"/ws/1")
			rooms.until("newUser")
			rooms.send(`{"command":"setID","data":"room-ann"}`)
			rooms.send(`{"command":"newID"}`)
			rooms.until(`"clientID"`, "room-ann")

			facility := openFrames(t, "ws://"+h.Legacy["facility.listen"]+"/ws/chat?subscribe-broadcast&publish-broadcast&echo")

			native, err := h.Publish.Consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/rooms:all"})
			testkit.Check(t, err)
			_, err = native.Recv()
			testkit.Check(t, err)
			chat, err := h.Publish.Consume(t.Context(), &publishv1.ConsumeRequest{Address: "broadcast/topics/chat"})
			testkit.Check(t, err)
			_, err = chat.Recv()
			testkit.Check(t, err)
			hears := func(stream interface {
				Recv() (*publishv1.ConsumeResponse, error)
			}, text string,
			) {
				t.Helper()
				for {
					r, err := stream.Recv()
					testkit.Check(t, err)
					if strings.Contains(string(r.GetMessage().GetData()), text) {
						return
					}
				}
			}

			// relay to rooms, and back: each is a client with an id.
			post(t, relayHTTP+"/publish", `{"uuid_remote":"room-ann","uuid_local":"`+relayToken.Token+`","message":{"text":"relay to rooms"}}`)
			rooms.until("sendMessage", "relay to rooms")
			rooms.send(`{"command":"sendMessage","data":{"from":"room-ann","to":"` + relayToken.Token + `","text":"rooms to relay"}}`)
			if got := relay.until("rooms to relay"); !strings.HasPrefix(got, `{"message":{`) {
				t.Errorf("the relay client got %s", got)
			}
			// rooms to pushserver, and back: the room is a channel.
			rooms.send(`{"command":"sendMessage","data":{"from":"room-ann","text":"rooms to push"}}`)
			push.until("CLIENT_PUSH", "rooms to push")
			hears(native, "rooms to push")
			post(t, pushHTTP+"/push", `{"messageType":"SERVER_ACTION","action":"PUSH_MESSAGE","data":{"channel":"rooms:all","channelToken":`+
				quoted(made.Data.ChannelToken)+`,"recipients":[],"message":"push to rooms"}}`)
			rooms.until("sendMessage", "push to rooms")
			hears(native, "push to rooms")
			// facility, and natively to all four.
			facility.send("facility to native")
			hears(chat, "facility to native")
			for to, f := range map[string]*frames{
				"clients/" + relayToken.Token: relay, "clients/room-ann": rooms, "channels/rooms:all": push, "broadcast/topics/chat": facility,
			} {
				_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(`{"text":"native to ` + to + `"}`)})
				testkit.Check(t, err)
				f.until("native to " + to)
			}
		})
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// serve --dev --legacy all speaks all of them in one process, and says where.
func TestDialects_devServesAll(t *testing.T) {
	var urls []string
	listen := func(key, url, at string) string {
		t.Setenv("TRUNKLINE_LEGACY_"+key, at)
		_, port, _ := strings.Cut(at, ":")
		urls = append(urls, url+"localhost:"+port)
		return at
	}
	shared := listen("RELAY_HTTP_LISTEN", "http://", freePort(t)) // by the relay's HTTP and rooms, as by default
	listen("ROOMS_LISTEN", "ws://", shared)
	listen("RELAY_WEBSOCKET_LISTEN", "ws://", freePort(t))
	listen("PUSHSERVER_HTTP_LISTEN", "http://", freePort(t))
	listen("PUSHSERVER_WEBSOCKET_LISTEN", "ws://", freePort(t))
	listen("FACILITY_LISTEN", "ws://", freePort(t))
	p := &process{tb: t, name: "dev", args: []string{"serve", "--dev", "--legacy", "all", "--http-listen", freePort(t), "--grpc-listen", freePort(t), "--internal-listen", freePort(t)}}
	p.start()
	testkit.Within(t, "the banner is printed", 10*time.Second, func() bool { return strings.Contains(p.text(), "^C stops") })
	for _, url := range urls {
		if !strings.Contains(p.text(), url) {
			t.Errorf("the banner does not say %s:\n%s", url, p.text())
		}
	}
	if status, body := get("http://" + shared + "/roomid"); status != http.StatusOK || strings.TrimSpace(body) != "1" {
		t.Errorf("/roomid on the shared listener: %d %s", status, body)
	}
	testkit.Check(t, p.end(syscall.SIGTERM))
}
