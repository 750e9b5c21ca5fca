package badinput_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	wirev1 "github.com/trunkline/trunkline/gen/go/trunkline/wire/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// envelopes are what nobody may be sent, as it stands in a log or comes on a channel.
func envelopes(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{"nothing": "", "text": "hello", "JSON": `{"id":"x"}`, "a length past the end": "\x0a\xff\x01x", "a group": "\x0b", "zeros": "\x00\x00"}
	for name, change := range map[string]func(*wirev1.Envelope){
		"no id": func(e *wirev1.Envelope) { e.Id = "" }, "an id with a line": func(e *wirev1.Envelope) { e.Id = "a\nb" },
		"an unknown content type": func(e *wirev1.Envelope) { e.ContentType = 9 }, "an unknown kind": func(e *wirev1.Envelope) { e.Kind = 77 },
		"a frame inside": func(e *wirev1.Envelope) { e.Data = []byte(`1,"sender":{"user":"root"}`) }, "JSON that ends": func(e *wirev1.Envelope) { e.Data = []byte(`{"a":`) },
		"JSON that is no UTF-8": func(e *wirev1.Envelope) { e.Data = []byte("\"\xff\"") }, "text that is no UTF-8": func(e *wirev1.Envelope) { e.ContentType, e.Data = 2, []byte("\xff\xfe") },
		"a large payload": func(e *wirev1.Envelope) { e.Data = []byte(`"` + strings.Repeat("x", 8<<20) + `"`) }, "a user with NUL": func(e *wirev1.Envelope) { e.FromUser = "a\x00b" },
		"an attribute with a line": func(e *wirev1.Envelope) { e.Attributes = map[string]string{"a\n": "b"} },
	} {
		e := &wirev1.Envelope{Id: "forged", Data: []byte(`"forged"`), ContentType: 1, PublishTimeMs: time.Now().UnixMilli()}
		change(e)
		b, err := proto.Marshal(e)
		testkit.Check(t, err)
		all[name] = string(b)
	}
	return all
}

// spoilt is a deployment over a Redis that somebody else writes to, too.
type spoilt struct {
	*suite
	raw   *goredis.Client
	admin string // a header
}

func startSpoilt(t *testing.T) *spoilt {
	t.Helper()
	server := redistest.Start(t)
	s := &spoilt{suite: start(t, "Redis", apptest.Redis(server.URL()), apptest.With(func(c *config.Config) {
		c.Channels.Defaults.HistoryLength, c.Channels.Defaults.HistoryAge, c.Channels.Defaults.Presence = 1000, time.Hour, true
		c.Hooks.Events.Enabled = true
	}))}
	s.admin = "Authorization: Bearer " + s.AdminKey
	s.raw = goredis.NewClient(&goredis.Options{Addr: server.Addr(), Protocol: 2})
	t.Cleanup(func() { _ = s.raw.Close() })
	return s
}

// count asks for a list, and returns the status and how many there are, or the reason.
func (s *spoilt) count(t *testing.T, path, list string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+path, http.NoBody)
	testkit.Check(t, err)
	req.Header.Set("Authorization", "Bearer "+s.AdminKey)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	testkit.Check(t, err)
	s.told(t, string(body))
	if res.StatusCode != http.StatusOK {
		return fmt.Sprint(res.StatusCode, " ", said(body))
	}
	var answer map[string]json.RawMessage
	var items []json.RawMessage
	testkit.Check(t, json.Unmarshal(body, &answer))
	if answer[list] != nil {
		testkit.Check(t, json.Unmarshal(answer[list], &items))
	}
	if strings.Contains(string(body), "forged") {
		return "forged"
	}
	return fmt.Sprintf("200, %d", len(items))
}

// publish sends a good message to an address, and returns how it was answered.
func (s *spoilt) publish(t *testing.T, address string) string {
	t.Helper()
	_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: address, Data: []byte("1")})
	return s.answered(t, err)
}

func (s *spoilt) set(t *testing.T, key string, pairs ...any) {
	t.Helper()
	testkit.Check(t, s.raw.HSet(t.Context(), "tl:"+key, pairs...).Err())
}

func TestRedis(t *testing.T) {
	s := startSpoilt(t)
	s.logs(t)
	s.pushes(t)
	s.metas(t)
	s.types(t)
	s.records(t)
	s.inboxes(t)
	s.revocations(t)
	for kind, where := range map[string]string{"entry": "internal", "push": "internal", "position": "internal", "key": "internal", "channel": "internal"} {
		s.row("the metric of "+kind, "counted", func(t *testing.T) string {
			if strings.Contains(s.metrics(t), `trunkline_store_unreadable_total{kind="`+kind+`"}`) {
				return "counted"
			}
			return "not counted by the " + where + " listener"
		})
	}
}

// metrics returns what the process counts.
func (s *spoilt) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Internal+"/metrics", http.NoBody)
	testkit.Check(t, err)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	testkit.Check(t, err)
	return string(body)
}

// logs puts garbage between two good messages of a log. Every way of reading gives these two.
func (s *spoilt) logs(t *testing.T) {
	n := 0
	for name, envelope := range envelopes(t) {
		n++
		address := fmt.Sprintf("channels/open:log%d", n)
		if got := s.publish(t, address); got != "OK" {
			t.Fatal(got)
		}
		testkit.Check(t, s.raw.XAdd(t.Context(), &goredis.XAddArgs{Stream: "tl:{" + address + "}:s", ID: fmt.Sprint("2-", time.Now().UnixMilli()), Values: []any{"m", envelope}}).Err())
		s.set(t, "{"+address+"}:m", "o", 2)
		if got := s.publish(t, address); got != "OK" {
			t.Fatal(got)
		}
		s.row("history over REST, "+name, "200, 2", func(t *testing.T) string { return s.count(t, "/v1/"+address+"/messages", "messages") })
		s.row("history over gRPC, "+name, "OK, 2", func(t *testing.T) string {
			page, err := s.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: address})
			return fmt.Sprintf("%s, %d", s.answered(t, err), len(page.GetMessages()))
		})
		s.row("history over WebSocket, "+name, "history 2", func(t *testing.T) string {
			ws := s.socket(t, true)
			return s.messages(t, ws, fmt.Sprintf(`{"id":2,"history":{"address":%q}}`, address), 0)
		})
		s.row("a replay, "+name, "subscribed 2", func(t *testing.T) string {
			ws := s.socket(t, true)
			return s.messages(t, ws, fmt.Sprintf(`{"id":2,"subscribe":{"address":%q,"fromBeginning":true}}`, address), 2)
		})
	}
}

// messages sends a frame, and reads until its answer and so many messages have come. It returns the answer and how many there were.
func (s *spoilt) messages(t *testing.T, ws *websocket.Conn, frame string, want int) string {
	t.Helper()
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
	kind, n := "", 0
	for kind == "" || n < want {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return fmt.Sprint(kind, " ", n, " ", err)
		}
		s.told(t, string(data))
		if strings.Contains(string(data), "forged") {
			return "forged"
		}
		var got map[string]json.RawMessage
		testkit.Check(t, json.Unmarshal(data, &got))
		for name, body := range got {
			switch name {
			case "id":
			case "message":
				n++
			case "history":
				var page struct{ Messages []json.RawMessage }
				testkit.Check(t, json.Unmarshal(body, &page))
				kind, n = name, len(page.Messages)
			default:
				kind = name
			}
		}
	}
	return fmt.Sprint(kind, " ", n)
}

// pushes sends garbage on a channel that somebody follows. What comes next is the next good message.
func (s *spoilt) pushes(t *testing.T) {
	const address = "channels/open:push"
	ws := s.socket(t, true)
	if got := s.messages(t, ws, fmt.Sprintf(`{"id":2,"subscribe":{"address":%q}}`, address), 0); got != "subscribed 0" {
		t.Fatal(got)
	}
	payloads := map[string]string{
		"no line": "x", "an epoch alone": "e\n", "an offset that is none": "e x 1\n", "a time that is none": "e 1 x\n", "an epoch that is no UTF-8": "\xff 1 1\n",
		"a long epoch": strings.Repeat("e", 1000) + " 1 1\n", "16 MiB": strings.Repeat("x", 16<<20),
	}
	for name, envelope := range envelopes(t) {
		payloads["live, "+name], payloads["of a log, "+name], payloads["with a copy, "+name] = "\n"+envelope, "epoch 1 1\n"+envelope, "!\n"+envelope
	}
	for name, payload := range payloads {
		s.row("a push, "+name, "one message", func(t *testing.T) string {
			testkit.Check(t, s.raw.Publish(t.Context(), "tl:{"+address+"}:p", payload).Err())
			sent, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: address, Data: []byte("1")})
			testkit.Check(t, err)
			testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, data, err := ws.ReadMessage()
			testkit.Check(t, err)
			if !strings.Contains(string(data), sent.GetId()) {
				return cut(string(data))
			}
			return "one message"
		})
	}
}

// metas puts garbage in the place of the newest offset and the epoch. History goes on, and so does publishing.
func (s *spoilt) metas(t *testing.T) {
	n := 0
	for _, field := range []string{"o", "e", "p", "t", "v", "w", "r"} {
		for _, value := range []string{"x", "-1", "1.5", "", "\xff", "99999999999999999999", strings.Repeat("9", 10_000), "a b:c", "\n"} {
			if field == "v" {
				value = "1" + value // what is behind it is hidden, which a number may say
			}
			n++
			address := fmt.Sprintf("channels/open:meta%d", n)
			if got := s.publish(t, address); got != "OK" {
				t.Fatal(got)
			}
			s.set(t, "{"+address+"}:m", field, value)
			name := fmt.Sprintf("%s is %.20q", field, value)
			s.row("history, "+name, "200", func(t *testing.T) string { return s.count(t, "/v1/"+address+"/messages", "messages")[:3] })
			s.row("publish, "+name, "OK", func(t *testing.T) string { return s.publish(t, address) })
			s.row("subscribe, "+name, "subscribed", func(t *testing.T) string {
				ws := s.socket(t, true)
				got := s.messages(t, ws, fmt.Sprintf(`{"id":2,"subscribe":{"address":%q}}`, address), 0)
				return strings.Fields(got)[0]
			})
		}
	}
}

// types puts another type in the place of each key. That is refused for good, and beside it everything goes on.
func (s *spoilt) types(t *testing.T) {
	const refused = " STORED_DATA_FOREIGN"
	for _, row := range []struct {
		name, key, want string
		try             func(t *testing.T) string
	}{
		{"history of a list", "{channels/open:t}:s", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t/messages", "messages") }},
		{"publish to a list", "{channels/open:t}:s", "FailedPrecondition" + refused, func(t *testing.T) string { return s.publish(t, "channels/open:t") }},
		{"subscribe to a list", "{channels/open:t}:s", "subscribed, unsubscribed, pong", func(t *testing.T) string {
			ws := s.socket(t, true)
			var all []string
			for _, frame := range []string{`{"id":2,"subscribe":{"address":"channels/open:t","fromBeginning":true}}`, "", `{"id":3,"ping":{}}`} {
				if frame != "" {
					testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
				}
				all = append(all, s.reply(t, ws))
			}
			return strings.Join(all, ", ")
		}},
		{"history over WebSocket of a list", "{channels/open:t}:s", "error" + refused, func(t *testing.T) string { return s.command(t, `"history":{"address":"channels/open:t"}`) }},
		{"history, the meta hash", "{channels/open:t}:m", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t/messages", "messages") }},
		{"publish, the meta hash", "{channels/open:t}:m", "FailedPrecondition" + refused, func(t *testing.T) string { return s.publish(t, "channels/open:t") }},
		{"subscribe, the meta hash", "{channels/open:t}:m", "error" + refused, func(t *testing.T) string { return s.command(t, `"subscribe":{"address":"channels/open:t"}`) }},
		{"publish over WebSocket", "{channels/open:t}:m", "error" + refused, func(t *testing.T) string { return s.command(t, `"publish":{"to":"channels/open:t","data":1}`) }},
		{"a created channel", "{channels/open:t}:c", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t", "x") }},
		{"a state", "{channels/open:t}:j", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t/state", "x") }},
		{"members", "{channels/open:t}:rz", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t/members", "members") }},
		{"presence over WebSocket", "{channels/open:t}:rz", "error" + refused, func(t *testing.T) string { return s.command(t, `"presence":{"address":"channels/open:t"}`) }},
		{"an inbox", "{users/ada}:s", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/users/ada/inbox", "entries") }},
		{"the numbers of an inbox", "{users/ada}:s", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/users/ada/inbox/stats", "x") }},
		{"a receipt", "{users/ada}:k:x", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/users/ada/receipts/x", "x") }},
		{"the list of channels", "{channels}", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels", "channels") }},
		{"a channel beside", "{channels/open:t}:s", "OK", func(t *testing.T) string { return s.publish(t, "channels/open:beside") }},
		{"a live message", "{channels/open:t}:s", "400" + refused, func(t *testing.T) string { return s.count(t, "/v1/channels/open:t/messages?pageSize=1", "messages") }},
	} {
		if got := s.publish(t, "channels/open:t"); got != "OK" {
			t.Fatal(got)
		}
		key := "tl:" + row.key
		was, err := s.raw.Dump(t.Context(), key).Result()
		testkit.Check(t, s.raw.Del(t.Context(), key).Err())
		testkit.Check(t, s.raw.SAdd(t.Context(), key, "foreign").Err())
		s.row("another type, "+row.name, row.want, row.try)
		testkit.Check(t, s.raw.Del(t.Context(), key).Err())
		if err == nil {
			testkit.Check(t, s.raw.Restore(t.Context(), key, 0, was).Err())
		}
	}
}

// command sends one command on a connection of its own, and returns the answer.
func (s *suite) command(t *testing.T, command string) string {
	t.Helper()
	ws := s.socket(t, true)
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"id":2,`+command+`}`)))
	return s.reply(t, ws)
}

// records puts garbage in the place of channels, states and members.
func (s *spoilt) records(t *testing.T) {
	for i, text := range []string{"", "x", "[]", "1", `{"created":"+99999-01-01T00:00:00Z"}`, "{", "\xff"} {
		name := fmt.Sprintf("open:rec%d", i)
		testkit.Check(t, s.raw.Set(t.Context(), "tl:{channels/"+name+"}:c", text, 0).Err())
		testkit.Check(t, s.raw.ZAdd(t.Context(), "tl:{channels}", goredis.Z{Member: "channels/" + name}, goredis.Z{Member: "\xff"}, goredis.Z{Member: "nope"}).Err())
		s.row(fmt.Sprintf("a channel that is %q", text), "404 CHANNEL_NOT_FOUND", func(t *testing.T) string { return s.count(t, "/v1/channels/"+name, "x") })
		s.row(fmt.Sprintf("a list with %q", text), "200, 0", func(t *testing.T) string { return s.count(t, "/v1/channels", "channels") })
	}
	for i, value := range []string{"", "x", "[1]", "1", "{", "{}x", "{\"a\":\"\xff\"}", "null"} {
		s.set(t, "{channels/open:state}:j", "v", value, "r", i+1, "t", "x")
		s.row(fmt.Sprintf("a state that is %q", value), "200, 0", func(t *testing.T) string { return s.count(t, "/v1/channels/open:state/state", "x") })
	}
	for _, revision := range []string{"x", "-1", "1.5", "\xff", strings.Repeat("9", 40)} {
		s.set(t, "{channels/open:state}:j", "v", "{}", "r", revision, "t", "300000000000000")
		s.row(fmt.Sprintf("a revision that is %.9q", revision), "200, 0", func(t *testing.T) string { return s.count(t, "/v1/channels/open:state/state", "x") })
		s.row(fmt.Sprintf("a change of a revision that is %.9q", revision), "200", func(t *testing.T) string {
			return s.ask(t, request{method: "POST", path: "/v1/channels/open:state/state:merge", body: `{"data":{"a":1}}`, header: []string{s.admin}})
		})
	}
	for i, text := range []string{"", "0", "x", "0 x", "0 {}", "0 [1]", `0 {"Connection":"z","Joined":"+99999-01-01T00:00:00Z"}`, "\xff"} {
		s.set(t, "{channels/open:hall}:r", fmt.Sprint(i), text)
		testkit.Check(t, s.raw.ZAdd(t.Context(), "tl:{channels/open:hall}:rz", goredis.Z{Member: fmt.Sprint(i)}).Err())
		s.row(fmt.Sprintf("a member that is %q", text), "200, 0", func(t *testing.T) string { return s.count(t, "/v1/channels/open:hall/members", "members") })
		s.row(fmt.Sprintf("presence with %q", text), "presence", func(t *testing.T) string { return s.command(t, `"presence":{"address":"channels/open:hall"}`) })
	}
	for _, event := range []string{"", "x", "[]", `{"id":""}`, `{"id":"x","at":300000000000000}`, "\xff"} {
		testkit.Check(t, s.raw.RPush(t.Context(), "tl:{channels/open:hall}:ru", event).Err())
		s.row(fmt.Sprintf("a join beside the noted event %q", event), "subscribed", func(t *testing.T) string { return s.command(t, `"subscribe":{"address":"channels/open:hall"}`) })
	}
}

// inboxes puts garbage in the place of entries and receipts.
func (s *spoilt) inboxes(t *testing.T) {
	sent, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "users/bob", Data: []byte("1"), Ack: &publishv1.AckPolicy{}})
	testkit.Check(t, err)
	key := "tl:{users/bob}:k:" + sent.GetId()
	good := s.raw.HGetAll(t.Context(), key).Val()
	for _, field := range []string{"s", "e", "a", "x", "d", "n", "k", "mx", "dl", "c:phone"} {
		for _, value := range []string{"x", "-1", "1.5", "\xff", "300000000000000", "99999999999999999999"} {
			testkit.Check(t, s.raw.HSet(t.Context(), key, good).Err())
			testkit.Check(t, s.raw.HSet(t.Context(), key, field, value).Err())
			s.row(fmt.Sprintf("a receipt, %s is %q", field, value), "200, 0", func(t *testing.T) string { return s.count(t, "/v1/users/bob/receipts/"+sent.GetId(), "x") })
			s.row(fmt.Sprintf("an inbox, %s of a message is %q", field, value), "200", func(t *testing.T) string { return s.count(t, "/v1/users/bob/inbox", "entries")[:3] })
			testkit.Check(t, s.raw.HDel(t.Context(), key, "c:phone").Err())
		}
	}
	_, err = s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte("2"), Ack: &publishv1.AckPolicy{}})
	testkit.Check(t, err)
	for name, envelope := range envelopes(t) {
		n := s.raw.HIncrBy(t.Context(), "tl:{users/ada}:m", "o", 1).Val()
		entry := fmt.Sprintf("%d-%d", n, time.Now().UnixMilli())
		testkit.Check(t, s.raw.XAdd(t.Context(), &goredis.XAddArgs{Stream: "tl:{users/ada}:s", ID: entry, Values: []any{"m", envelope}}).Err())
		s.set(t, "{users/ada}:k:forged", "e", entry, "x", time.Now().Add(time.Hour).UnixMilli())
		s.row("an inbox, "+name, "200, 1", func(t *testing.T) string { return s.count(t, "/v1/users/ada/inbox", "entries") })
		s.row("a connect, "+name, "connected", func(t *testing.T) string { return s.connect(t) })
	}
}

// connect connects as ada and returns the answer.
func (s *suite) connect(t *testing.T) string {
	t.Helper()
	ws := s.socket(t, false)
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, s.token)))
	return s.reply(t, ws)
}
