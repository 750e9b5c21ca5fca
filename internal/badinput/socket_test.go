package badinput_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/testkit"
)

// socket opens a WebSocket of the JSON protocol that is connected as ada.
func (s *suite) socket(t *testing.T, connected bool) *websocket.Conn {
	t.Helper()
	ws := s.socketAt(t, "/v1/ws")
	if connected {
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, s.token)))
		_, data, err := ws.ReadMessage()
		testkit.Check(t, err)
		s.framed(t, data)
	}
	return ws
}

// socketAt opens a WebSocket of the JSON protocol.
func (s *suite) socketAt(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	ws, resp, err := (&websocket.Dialer{Subprotocols: []string{"trunkline.v1.json"}}).DialContext(t.Context(), "ws"+strings.TrimPrefix(s.HTTP, "http")+path, nil)
	testkit.Check(t, err)
	sentWith(path)
	s.secret(t, "the handshake", fmt.Sprint(resp.Header))
	t.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	return ws
}

// reply reads frames until one is an answer or the end: "error FIELD_INVALID to", "subscribed", or "close 1002".
func (s *suite) reply(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	for {
		_, data, err := ws.ReadMessage()
		if e := (&websocket.CloseError{}); errors.As(err, &e) {
			s.told(t, e.Text)
			return strings.TrimSpace(fmt.Sprint("close ", e.Code))
		}
		if err != nil {
			return err.Error()
		}
		s.framed(t, data)
		var frame map[string]json.RawMessage
		if err := json.Unmarshal(data, &frame); err != nil {
			return "no JSON: " + string(data)
		}
		if frame["message"] != nil || frame["gap"] != nil {
			continue
		}
		var refusal struct {
			Reason          string
			FieldViolations []struct{ Field string }
		}
		if frame["error"] != nil {
			testkit.Check(t, json.Unmarshal(frame["error"], &refusal))
			fields := make([]string, len(refusal.FieldViolations))
			for i, f := range refusal.FieldViolations {
				fields[i] = f.Field
			}
			return strings.TrimSpace("error " + refusal.Reason + " " + strings.Join(fields, ","))
		}
		delete(frame, "id")
		for kind := range frame {
			return kind
		}
		return "empty"
	}
}

// farewell reads everything until the connection ends. A command that ends it is answered before.
func (s *suite) farewell(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	all := s.reply(t, ws)
	for got := all; strings.HasPrefix(got, "error"); all += ", " + got {
		got = s.reply(t, ws)
	}
	return all
}

type frameRow struct{ name, want, frame string }

// syntax is what is no frame. The connection ends.
var syntax = []frameRow{
	{"nothing", "error INVALID_JSON", ``},
	{"spaces", "error INVALID_JSON", `   `},
	{"a list", "error INVALID_JSON", `[]`},
	{"null", "error INVALID_JSON", `null`},
	{"a number", "error INVALID_JSON", `1`},
	{"a string", "error INVALID_JSON", `"x"`},
	{"an open brace", "error INVALID_JSON", `{`},
	{"words behind", "error INVALID_JSON", `{"id":2,"ping":{}} x`},
	{"two frames", "error INVALID_JSON", `{"id":2,"ping":{}}{"id":3,"ping":{}}`},
	{"a comma too many", "error INVALID_JSON", `{"id":2,"ping":{},}`},
	{"a comment", "error INVALID_JSON", `{"id":2,/*x*/"ping":{}}`},
	{"single quotes", "error INVALID_JSON", `{'id':2}`},
	{"NaN", "error INVALID_JSON", `{"id":NaN,"ping":{}}`},
	{"Infinity", "error INVALID_JSON", `{"id":Infinity,"ping":{}}`},
	{"an id of 1.5", "error FIELD_INVALID id", `{"id":1.5,"ping":{}}`},
	{"an id of -1", "error FIELD_INVALID id", `{"id":-1,"ping":{}}`},
	{"an id past 32 bits", "error FIELD_INVALID id", `{"id":4294967296,"ping":{}}`},
	{"an id past 64 bits", "error FIELD_INVALID id", `{"id":18446744073709551616,"ping":{}}`},
	{"an id of 1e400", "error FIELD_INVALID id", `{"id":1e400,"ping":{}}`},
	{"an id that is an object", "error FIELD_INVALID id", `{"id":{},"ping":{}}`},
	{"an id that is text", "error FIELD_INVALID id", `{"id":"x","ping":{}}`},
	{"an id twice", "error FIELD_INVALID id", `{"id":2,"id":3,"ping":{}}`},
	{"no command", "error PROTOCOL_ERROR", `{}`},
	{"an id alone", "error PROTOCOL_ERROR", `{"id":2}`},
	{"two commands", "error FIELD_INVALID unsubscribe", `{"id":2,"ping":{},"unsubscribe":{"address":"channels/open:a"}}`},
	{"a command twice", "error FIELD_INVALID ping", `{"id":2,"ping":{},"ping":{}}`},
	{"an unknown command", "error UNKNOWN_FIELD shout", `{"id":2,"shout":{}}`},
	{"a command in capitals", "error UNKNOWN_FIELD PING", `{"id":2,"PING":{}}`},
	{"a command that is a number", "error FIELD_INVALID ping", `{"id":2,"ping":1}`},
	{"a command that is a list", "error FIELD_INVALID ping", `{"id":2,"ping":[]}`},
	{"a command that is null", "error PROTOCOL_ERROR", `{"id":2,"ping":null}`},
	{"__proto__", "error UNKNOWN_FIELD __proto__", `{"id":2,"__proto__":{},"ping":{}}`},
	{"constructor", "error UNKNOWN_FIELD constructor", `{"id":2,"constructor":{},"ping":{}}`},
	{"10,000 levels", "error FIELD_INVALID data", `{"id":2,"publish":{"to":"channels/open:a","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}}`},
	{"a name of 100 KiB", "error UNKNOWN_FIELD " + strings.Repeat("k", 64) + "…", `{"id":2,"` + strings.Repeat("k", 100<<10) + `":1}`},
	{"UTF-16", "error PROTOCOL_ERROR, close 1007", "\xff\xfe{\x00"},
	{"a byte that is no UTF-8", "error PROTOCOL_ERROR, error PROTOCOL_ERROR, close 1007", "{\"id\":2,\"ping\":{\"x\":\"\xff\"}}"},
	{"a surrogate as UTF-8", "error PROTOCOL_ERROR, error PROTOCOL_ERROR, close 1007", "{\"id\":2,\"x\":\"\xed\xa0\x80\"}"},
	{"an overlong slash", "error PROTOCOL_ERROR, error PROTOCOL_ERROR, close 1007", "{\"id\":2,\"x\":\"\xc0\xaf\"}"},
	{"past the last code point", "error PROTOCOL_ERROR, error PROTOCOL_ERROR, close 1007", "{\"id\":2,\"x\":\"\xf4\x90\x80\x80\"}"},
}

// commands are wrong commands. The connection stays.
var commands = []frameRow{
	{"an unknown member", "error UNKNOWN_FIELD ping.nope", `{"id":2,"ping":{"nope":1}}`},
	{"connect again", "error ALREADY_CONNECTED", `{"id":2,"connect":{"token":"x"}}`},
	{"subscribe to nothing", "error FIELD_INVALID address", `{"id":2,"subscribe":{}}`},
	{"subscribe to no address", "error FIELD_INVALID address", `{"id":2,"subscribe":{"address":"open:a"}}`},
	{"subscribe to a number", "error FIELD_INVALID subscribe.address", `{"id":2,"subscribe":{"address":5}}`},
	{"subscribe to a pattern", "error FIELD_INVALID address", `{"id":2,"subscribe":{"address":"channels/*"}}`},
	{"subscribe to what is not granted", "error CHANNEL_SUBSCRIBE_DENIED", `{"id":2,"subscribe":{"address":"channels/secret"}}`},
	{"subscribe to another's address", "error CHANNEL_SUBSCRIBE_DENIED", `{"id":2,"subscribe":{"address":"users/bob"}}`},
	{"subscribe to the system", "error FIELD_INVALID address", `{"id":2,"subscribe":{"address":"system/revoked"}}`},
	{"unsubscribe from nothing", "error FIELD_INVALID address", `{"id":2,"unsubscribe":{}}`},
	{"unsubscribe from what is not followed", "error FIELD_INVALID address", `{"id":2,"unsubscribe":{"address":"channels/open:a"}}`},
	{"publish to nothing", "error FIELD_INVALID to", `{"id":2,"publish":{"data":1}}`},
	{"publish what is not granted", "error CHANNEL_PUBLISH_DENIED", `{"id":2,"publish":{"to":"channels/secret","data":1}}`},
	{"publish to another", "error CHANNEL_PUBLISH_DENIED", `{"id":2,"publish":{"to":"users/bob","data":1}}`},
	{"publish to everybody", "error CHANNEL_PUBLISH_DENIED", `{"id":2,"publish":{"to":"broadcast","data":1}}`},
	{"publish as somebody else", "published", `{"id":2,"publish":{"to":"channels/open:a","data":1,"sender":{"client":"bob"}}}`},
	{"publish a negative ttl", "error FIELD_INVALID ttl", `{"id":2,"publish":{"to":"channels/open:a","data":1,"ttl":"-1s"}}`},
	{"publish too much", "error MESSAGE_TOO_LARGE data", `{"id":2,"publish":{"to":"channels/open:a","data":"` + strings.Repeat("x", 70_000) + `"}}`},
	{"publish with an unknown content type", "error FIELD_INVALID content_type", `{"id":2,"publish":{"to":"channels/open:a","data":1,"contentType":99}}`},
	{"publish bytes that are none", "error FIELD_INVALID publish.data", `{"id":2,"publish":{"to":"channels/open:a","data":"*","contentType":"CONTENT_TYPE_BINARY"}}`},
	{"publish with a key that is too long", "error FIELD_INVALID idempotency_key", `{"id":2,"publish":{"to":"channels/open:a","data":1,"idempotencyKey":"` + strings.Repeat("k", 129) + `"}}`},
	{"history of nothing", "error FIELD_INVALID address", `{"id":2,"history":{}}`},
	{"history of what is not granted", "error CHANNEL_HISTORY_DENIED", `{"id":2,"history":{"address":"channels/secret"}}`},
	{"history, a page of -1", "error FIELD_INVALID page_size", `{"id":2,"history":{"address":"channels/open:a","pageSize":-1}}`},
	{"history, a page token that is none", "error FIELD_INVALID page_token", `{"id":2,"history":{"address":"channels/open:a","pageToken":"x"}}`},
	{"presence of nothing", "error FIELD_INVALID address", `{"id":2,"presence":{}}`},
	{"presence of what is not granted", "error CHANNEL_PRESENCE_DENIED", `{"id":2,"presence":{"address":"channels/secret"}}`},
	{"ack of nothing", "error FIELD_INVALID address,ids", `{"id":2,"ack":{}}`},
	{"ack of another's message", "error PERMISSION_DENIED", `{"id":2,"ack":{"address":"users/bob","ids":["x"]}}`},
	{"ack of what is not there", "acked", `{"id":2,"ack":{"address":"users/ada","ids":["x"]}}`},
	{"an id of -0", "pong", `{"id":-0,"ping":{}}`},
	{"no id", "pong", `{"ping":{}}`},
	{"a lone surrogate", "error FIELD_INVALID subscribe.address", `{"id":2,"subscribe":{"address":"\ud800"}}`},
	{"NUL in a string", "error FIELD_INVALID address", `{"id":2,"subscribe":{"address":"channels/open:a\u0000"}}`},
	{"10,000 names", "error UNKNOWN_FIELD " + strings.TrimSuffix(strings.Repeat("k,", 20), ","), `{"id":2` + strings.Repeat(`,"k":1`, 10_000) + `}`},
	{"resume at a position to come", "subscribed", `{"id":2,"subscribe":{"address":"channels/open:a","after":{"epoch":"none","offset":"99"}}}`},
	{"resume at no epoch", "error FIELD_INVALID after.epoch", `{"id":2,"subscribe":{"address":"channels/open:a","after":{"offset":"5"}}}`},
	{"publish nothing", "published", `{"id":2,"publish":{"to":"channels/open:a"}}`},
	{"presence of what is not subscribed", "presence", `{"id":2,"presence":{"address":"channels/open:b"}}`},
	{"history, a page of 10^9", "error FIELD_INVALID page_size", `{"id":2,"history":{"address":"channels/open:a","pageSize":1000000000}}`},
	{"refresh with nothing", "error TOKEN_MISSING", `{"id":2,"refresh":{}}`},
	{"refresh with no token", "error TOKEN_INVALID", `{"id":2,"refresh":{"token":"x"}}`},
}

// unconnected are first frames that are wrong.
var unconnected = []frameRow{
	{"a command before connect", "error NOT_CONNECTED", `{"id":1,"subscribe":{"address":"channels/open:a"}}`},
	{"a ping before connect", "error NOT_CONNECTED", `{"id":1,"ping":{}}`},
	{"connect without a token", "error TOKEN_MISSING", `{"id":1,"connect":{}}`},
	{"connect with an empty token", "error TOKEN_MISSING", `{"id":1,"connect":{"token":""}}`},
	{"connect with no token", "error TOKEN_INVALID", `{"id":1,"connect":{"token":"x"}}`},
	{"connect with a number", "error FIELD_INVALID connect.token", `{"id":1,"connect":{"token":5}}`},
	{"connect with an unknown member", "error UNKNOWN_FIELD connect.nope", `{"id":1,"connect":{"token":"x","nope":1}}`},
}

func TestCommands(t *testing.T) {
	s := start(t, "WebSocket, commands")
	for _, list := range []struct {
		rows      []frameRow
		connected bool
	}{{syntax, true}, {commands, true}, {unconnected, false}} {
		for _, r := range list.rows {
			s.row(r.name, r.want, func(t *testing.T) string {
				ws := s.socket(t, list.connected)
				testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(r.frame)))
				if strings.Contains(r.want, ", close") {
					return s.farewell(t, ws)
				}
				return s.reply(t, ws)
			})
		}
	}
	s.repeated()
}

// repeated are frames that are answered for some time. The connection ends when there are too many.
func (s *suite) repeated() {
	for _, r := range []struct {
		name, want, frame string
		times             int
	}{
		{"nonsense again and again", "close 4429", `{"id":`, 1000},
		{"10,000 commands that nobody reads the answers of", "close 4429", `{"id":2,"ping":{}}`, 10_000},
		{"one channel 1,000 times", "close 4429", `{"id":2,"subscribe":{"address":"channels/open:a"}}`, 1000},
	} {
		s.row(r.name, r.want, func(t *testing.T) string {
			ws := s.socket(t, true)
			for range r.times {
				if ws.WriteMessage(websocket.TextMessage, []byte(r.frame)) != nil {
					break // it has ended
				}
			}
			seen := map[string]int{}
			for range r.times + 1 {
				got := s.reply(t, ws)
				if seen[got]++; strings.HasPrefix(got, "close") || !strings.HasPrefix(got, "error") && got != "pong" && got != "subscribed" {
					t.Log(seen)
					return got
				}
			}
			return fmt.Sprint(seen)
		})
	}
}

func jsonText(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}
