package badinput_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// older is one request or frame of an older protocol: a method and a path for HTTP, nothing for a frame.
type older struct {
	name, want   string
	listener     string
	method, path string
	body         string
	header       []string
}

const (
	relayHTTP, pushHTTP, roomsHTTP, facilityHTTP = "relay.http", "pushserver.http", "rooms.listen", "facility.listen"
	relaySocket, pushSocket                      = "relay.websocket", "pushserver.websocket"
)

var olderHTTP = []older{
	{"no route", "404 METHOD_UNKNOWN", relayHTTP, "GET", "/", "", nil},
	{"another method", "404 METHOD_UNKNOWN", relayHTTP, "PUT", "/token", "", nil},
	{"an invented method", "404 METHOD_UNKNOWN", relayHTTP, "GEX", "/token", "", nil},
	{"auth of nothing", "404 METHOD_UNKNOWN", relayHTTP, "GET", "/auth/", "", nil},
	{"auth of a path", "404 METHOD_UNKNOWN", relayHTTP, "GET", "/auth/a/b", "", nil},
	{"auth of no UTF-8", "400 FIELD_INVALID token", relayHTTP, "GET", "/auth/%ff", "", nil},
	{"auth of nonsense", "200", relayHTTP, "GET", "/auth/x", "", nil},
	{"auth of NUL", "200", relayHTTP, "GET", "/auth/%00", "", nil},
	{"publish an open brace", "400 INVALID_JSON", relayHTTP, "POST", "/publish", "{", nil},
	{"publish a number", "400 INVALID_JSON", relayHTTP, "POST", "/publish", "1", nil},
	{"publish a text", "400 INVALID_JSON", relayHTTP, "POST", "/publish", `"x"`, nil},
	{"publish two objects", "400 INVALID_JSON", relayHTTP, "POST", "/publish", "{}{}", nil},
	{"publish 100 KiB", "413 MESSAGE_TOO_LARGE", relayHTTP, "POST", "/publish", `{"message":"` + strings.Repeat("x", 110<<10) + `"}`, nil},
	{"publish in UTF-16", "415 UNSUPPORTED_MEDIA_TYPE", relayHTTP, "POST", "/publish", "{}", []string{"Content-Type: application/json; charset=utf-16"}},
	{"publish gzip", "415 UNSUPPORTED_MEDIA_TYPE", relayHTTP, "POST", "/publish", "{}", []string{"Content-Encoding: gzip"}},
	{"publish 10 GiB", "413 MESSAGE_TOO_LARGE", relayHTTP, "POST", "/publish", "{}", []string{"Content-Length: 10737418240"}},
	{"two lengths", "400", relayHTTP, "POST", "/publish", "{}", []string{"Content-Length: 2", "Content-Length: 3"}},
	{"headers of 1 MiB", "431", relayHTTP, "GET", "/token", "", []string{"X-A: " + strings.Repeat("x", 1<<20)}},

	{"no route", "404", pushHTTP, "GET", "/", "", nil},
	{"create with nothing", "400 Invalid message", pushHTTP, "POST", "/channel/create", "", nil},
	{"create with an open brace", "400 {", pushHTTP, "POST", "/channel/create", "{", nil},
	{"create with a list", "400 Invalid message", pushHTTP, "POST", "/channel/create", "[]", nil},
	{"create with null", "400 Invalid message", pushHTTP, "POST", "/channel/create", "null", nil},
	{"create with words behind", "400 {} x", pushHTTP, "POST", "/channel/create", "{} x", nil},
	{"create without data", "400 Invalid message", pushHTTP, "POST", "/channel/create", `{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL"}`, nil},
	{"create a number", "400 Invalid message", pushHTTP, "POST", "/channel/create", `{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":5}}`, nil},
	{"create by another action", "400 Invalid message", pushHTTP, "POST", "/channel/create", `{"messageType":"SERVER_ACTION","action":"FLY","data":{"channel":"a"}}`, nil},
	{"create by another type", "400 Invalid message", pushHTTP, "POST", "/channel/create", `{"messageType":"X","action":"CREATE_CHANNEL","data":{"channel":"a"}}`, nil},
	{"create with bytes that are no UTF-8", "400 {\"a\":\"\ufffd\"}", pushHTTP, "POST", "/channel/create", "{\"a\":\"\xff\"}", nil},
	{"ping with nothing", "400 Invalid message", pushHTTP, "POST", "/channel/ping", "{}", nil},
	{"ping of a channel that is not there", "404", pushHTTP, "POST", "/channel/ping", `{"messageType":"SERVER_ACTION","action":"PING_CHANNEL","data":{"channel":"a","channelToken":"x"}}`, nil},
	{"delete of a channel that is not there", "404", pushHTTP, "POST", "/channel/delete", `{"messageType":"SERVER_ACTION","action":"DELETE_CHANNEL","data":{"channel":"a","channelToken":"x"}}`, nil},
	{"push with nothing", "400 Invalid message", pushHTTP, "POST", "/push", "{}", nil},
	{"push 32 MiB", "413", pushHTTP, "POST", "/push", `{"a":"` + strings.Repeat("x", 32<<20) + `"}`, nil},
	{"push 10 GiB", "413", pushHTTP, "POST", "/push", "{}", []string{"Content-Length: 10737418240"}},
	{"100,000 levels", "400", pushHTTP, "POST", "/push", strings.Repeat("[", 100_000), nil},

	{"no route", "404", roomsHTTP, "GET", "/", "", nil},
	{"a room without an upgrade", "400", roomsHTTP, "GET", "/ws/1", "", nil},
	{"another method for a room", "404", roomsHTTP, "POST", "/ws/1", "{}", nil},
	{"another method for an id", "404", roomsHTTP, "DELETE", "/roomid", "", nil},
	{"an id behind an id", "404", roomsHTTP, "GET", "/roomid/1", "", nil},
	{"dots", "404", roomsHTTP, "GET", "/ws/../roomid2", "", nil},

	{"no route", "404", facilityHTTP, "GET", "/", "", nil},
	{"a facility without an upgrade", "400", facilityHTTP, "GET", "/ws/chat?subscribe-broadcast", "", nil},
	{"another method", "400", facilityHTTP, "POST", "/ws/chat", "{}", nil},
	{"an escape that is none", "400", facilityHTTP, "GET", "/ws/%zz", "", nil},
	{"a facility of 100 KiB", "431", facilityHTTP, "GET", "/ws/" + strings.Repeat("x", 100<<10), "", nil},
}

// olderFrames are frames of clients. What is answered is the first frame after those of the greeting, or how the socket ended.
var olderFrames = []older{
	{"an open brace", "ERROR 400 Bad JSON", pushSocket, "", "/", "{", nil},
	{"words behind", "ERROR 400 Bad JSON", pushSocket, "", "/", "{} x", nil},
	{"nothing", "ERROR 400 Invalid message", pushSocket, "", "/", "", nil},
	{"a list", "ERROR 400 Invalid message", pushSocket, "", "/", "[]", nil},
	{"null", "ERROR 400 Invalid message", pushSocket, "", "/", "null", nil},
	{"an unknown type", "ERROR 400 Invalid message", pushSocket, "", "/", `{"messageType":"X"}`, nil},
	{"no data", "ERROR 400 Invalid message", pushSocket, "", "/", `{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE"}`, nil},
	{"an unknown action", "ERROR 400 Invalid message", pushSocket, "", "/", `{"messageType":"CLIENT_ACTION","action":"FLY","data":{"channel":"a"}}`, nil},
	{"a channel that is a number", "ERROR 400 Invalid message", pushSocket, "", "/", `{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE","data":{"channel":5}}`, nil},
	{"a uuid that is none", "ERROR 400 Invalid message", pushSocket, "", "/", `{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE","uuid":"x","data":{"channel":"a"}}`, nil},
	{"a channel that is not there", "ERROR 404", pushSocket, "", "/", `{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE","data":{"channel":"nowhere"}}`, nil},
	{"10,000 levels", "ERROR 400", pushSocket, "", "/", strings.Repeat("[", 10_000), nil},
	{"bytes that are no UTF-8", "ERROR 400", pushSocket, "", "/", "{\"a\":\"\xff\"}", nil},

	{"an open brace", "error INVALID_JSON", roomsHTTP, "", "/ws/1", "{", nil},
	{"nothing", "error INVALID_JSON", roomsHTTP, "", "/ws/1", "", nil},
	{"a list", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", "[]", nil},
	{"null", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", "null", nil},
	{"no command", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", "{}", nil},
	{"a command that is a number", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":5}`, nil},
	{"an empty command", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":""}`, nil},
	{"a long command", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"` + strings.Repeat("x", 1025) + `"}`, nil},
	{"a word of the server", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"error"}`, nil},
	{"another word of the server", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"newUser","data":"x"}`, nil},
	{"an id that is a number", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"setID","data":5}`, nil},
	{"an ack that is a list", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"ack","data":[]}`, nil},
	{"an addressee that is a number", "error FIELD_INVALID", roomsHTTP, "", "/ws/1", `{"command":"x","data":{"to":5}}`, nil},
	{"10,000 levels", "error", roomsHTTP, "", "/ws/1", `{"command":"x","data":` + strings.Repeat("[", 10_000), nil},
	{"bytes that are no UTF-8", "error PROTOCOL_ERROR", roomsHTTP, "", "/ws/1", "{\"command\":\"\xff\"}", nil},

	{"state that is a number", "state", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast&state", `{"trunkline-state":5}`, nil},
	{"a merge that is a number", "state", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast&state", `{"trunkline-state":{"merge":5}}`, nil},
	{"a revision that is a text", "state", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast&state", `{"trunkline-state":{"merge":{},"revision":"x"}}`, nil},
	{"a negative revision", "state", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast&state", `{"trunkline-state":{"merge":{},"revision":-1}}`, nil},
	{"a command that is not allowed", "COMMAND_REFUSED", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", `{"command":"FLUSHALL"}`, nil},
	{"a command without a key", "FIELD_INVALID", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", `{"command":"GET"}`, nil},
	{"a command with an open quote", "FIELD_INVALID", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", `{"command":"GET \"x"}`, nil},
	{"a command with a long key", "FIELD_INVALID", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", `{"command":"GET ` + strings.Repeat("k", 257) + `"}`, nil},
	{"a time that is none", "FIELD_INVALID", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", `{"command":"SET a b EX x"}`, nil},
	{"bytes that are no UTF-8", "close 1007", facilityHTTP, "", "/ws/chat?subscribe-broadcast&publish-broadcast", "\xff", nil},

	{"a token that is none", "closed at once", relaySocket, "", "/ws?token=x", "", nil},
	{"no token", "closed at once", relaySocket, "", "/ws", "", nil},
	{"a token that is a path", "closed at once", relaySocket, "", "/ws?token=..%2Fauth%2Fx", "", nil},
	{"a token that is no UTF-8", "closed at once", relaySocket, "", "/ws?token=%ff", "", nil},
}

func TestDialects(t *testing.T) {
	s := start(t, "older protocols", apptest.With(func(c *config.Config) {
		c.Legacy.Dialects, c.Legacy.Open = []string{"all"}, true
	}), apptest.Setting(t, "legacy.commands.allow", "GET,SET"))
	for _, o := range olderHTTP {
		s.row(o.listener+", "+o.name, o.want, func(t *testing.T) string {
			got := s.olderAsk(t, o)
			if len(o.want) == len("404") {
				return got[:min(3, len(got))]
			}
			return got
		})
	}
	for _, o := range olderFrames {
		s.row(o.listener+" frame, "+o.name, o.want, func(t *testing.T) string { return s.olderSend(t, o) })
	}
	for listener, paths := range map[string][]string{relayHTTP: {"/TOKEN", "/token/", "/token/x"}, pushHTTP: {"/sysadmin/../x", "/channel"}, roomsHTTP: {"/ws", "/ws/a/b"}, facilityHTTP: {"/ws", "/x/chat"}} {
		for _, path := range paths {
			s.row(listener+" path "+path, "answered", func(t *testing.T) string {
				got := s.olderAsk(t, older{listener: listener, method: "GET", path: path})
				if n, err := strconv.Atoi(got[:min(3, len(got))]); err != nil || n >= 500 {
					return got
				}
				return "answered"
			})
		}
	}
}

// olderAsk sends a request to a listener of an older protocol, and returns the status and what is said.
func (s *suite) olderAsk(t *testing.T, o older) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Legacy[o.listener])
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	testkit.Check(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	text := o.method + " " + o.path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	given := strings.Join(o.header, "\n")
	if o.body != "" && !strings.Contains(given, "Content-Length") {
		text += "Content-Length: " + strconv.Itoa(len(o.body)) + "\r\n"
	}
	if o.body != "" && !strings.Contains(given, "Content-Type") {
		text += "Content-Type: application/json\r\n"
	}
	for _, h := range o.header {
		text += h + "\r\n"
	}
	sentWith(o.path, text)
	go func() { _, _ = io.WriteString(conn, text+"\r\n"+o.body) }()
	var heard strings.Builder
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &heard)), &http.Request{Method: o.method})
	if err != nil {
		return "closed"
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	s.told(t, heard.String())
	var push struct{ Data struct{ ErrorDetails string } }
	if o.listener == pushHTTP && json.Unmarshal(body, &push) == nil {
		return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", push.Data.ErrorDetails))
	}
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", said(body)))
}

// olderSend sends a frame, and returns the first refusal or how the socket ended.
func (s *suite) olderSend(t *testing.T, o older) string {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.Legacy[o.listener]+o.path, nil)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil && o.listener == relaySocket {
		return "closed at once"
	}
	testkit.Check(t, err)
	defer func() { _ = ws.Close() }()
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(5*time.Second)))
	if o.listener != relaySocket {
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(o.body)))
	}
	for {
		_, data, err := ws.ReadMessage()
		if e := (&websocket.CloseError{}); errors.As(err, &e) {
			s.told(t, e.Text)
			if o.listener == relaySocket {
				return "closed at once"
			}
			return fmt.Sprint("close ", e.Code)
		}
		if err != nil {
			return "nothing: " + err.Error()
		}
		s.told(t, string(data))
		if got := refusedBy(o, data); got != "" {
			return got
		}
	}
}

// refusedBy is what a frame of an older protocol refuses; empty for any other frame.
func refusedBy(o older, data []byte) string {
	var f struct {
		MessageType string
		Code        int
		Message     string
		Body        struct {
			Command string
			Data    json.RawMessage
		}
		Error struct{ Reason string }
		State json.RawMessage `json:"trunkline-state"`
	}
	if json.Unmarshal(data, &f) != nil {
		return ""
	}
	switch {
	case f.MessageType == "ERROR":
		if len(o.want) <= len("ERROR 400") {
			return fmt.Sprint("ERROR ", f.Code)
		}
		return fmt.Sprint("ERROR ", f.Code, " ", f.Message)
	case f.Body.Command == "error":
		var e struct{ Reason string }
		_ = json.Unmarshal(f.Body.Data, &e)
		if o.want == "error" {
			return "error"
		}
		return "error " + e.Reason
	case f.State != nil && strings.Contains(string(f.State), `"error"`):
		return "state"
	case f.Error.Reason != "":
		return f.Error.Reason
	}
	return ""
}
