package badinput_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

// binary opens a WebSocket of the protobuf protocol.
func (s *suite) binary(t *testing.T, connected bool) *websocket.Conn {
	t.Helper()
	ws, resp, err := (&websocket.Dialer{Subprotocols: []string{"trunkline.v1.proto"}}).DialContext(t.Context(), "ws"+strings.TrimPrefix(s.HTTP, "http")+"/v1/ws", nil)
	testkit.Check(t, err)
	t.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	if connected {
		b, err := proto.Marshal(&edgev1.ClientFrame{Id: 1, Command: &edgev1.ClientFrame_Connect{Connect: &edgev1.Connect{Token: s.token}}})
		testkit.Check(t, err)
		testkit.Check(t, ws.WriteMessage(websocket.BinaryMessage, b))
		if got := s.binaryReply(t, ws); got != "connected" {
			t.Fatal(got)
		}
	}
	return ws
}

// binaryReply is reply in the other encoding.
func (s *suite) binaryReply(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	for {
		_, data, err := ws.ReadMessage()
		if e := (&websocket.CloseError{}); errors.As(err, &e) {
			s.told(t, e.Text)
			return fmt.Sprint("close ", e.Code)
		}
		if err != nil {
			return err.Error()
		}
		var frame edgev1.ServerFrame
		testkit.Check(t, proto.Unmarshal(data, &frame))
		harvest(frame.ProtoReflect())
		s.told(t, frame.String())
		switch event := frame.GetEvent().(type) {
		case *edgev1.ServerFrame_Message, *edgev1.ServerFrame_Gap:
			continue
		case *edgev1.ServerFrame_Error:
			var fields []string
			for _, f := range event.Error.GetFieldViolations() {
				fields = append(fields, f.GetField())
			}
			return strings.TrimSpace("error " + event.Error.GetReason() + " " + strings.Join(fields, ","))
		default:
			return string(frame.ProtoReflect().WhichOneof(frame.ProtoReflect().Descriptor().Oneofs().Get(0)).Name())
		}
	}
}

// field is one field of protobuf with a length, or a number.
func field(n protowire.Number, v any) string {
	switch v := v.(type) {
	case string:
		return string(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), v))
	case int:
		return string(protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), uint64(int64(v))))
	}
	panic("no such field")
}

// nested is a field inside itself, so many times.
func nested(n protowire.Number, times int) string {
	inner := ""
	for range times {
		inner = field(n, inner)
	}
	return inner
}

// The numbers of the commands, and of what they have.
const (
	frameID, frameConnect, frameSubscribe, frameUnsubscribe, framePublish = 1, 2, 3, 4, 5
	frameHistory, framePresence, frameRefresh, framePing, frameAck        = 6, 7, 8, 9, 10
)

// binaryFrames are frames whose bytes are wrong. A field of another wire type is an unknown one, and of two commands the last counts.
var binaryFrames = []frameRow{
	{"nothing", "error PROTOCOL_ERROR", ""},
	{"an id alone", "error PROTOCOL_ERROR", field(frameID, 2)},
	{"JSON", "error PROTOCOL_ERROR", `{"id":2,"ping":{}}`},
	{"a tag alone", "error PROTOCOL_ERROR", "\x4a"},
	{"field zero", "error PROTOCOL_ERROR", "\x02\x00"},
	{"a length past the end", "error PROTOCOL_ERROR", "\x4a\x05ab"},
	{"a length of 2^32", "error PROTOCOL_ERROR", "\x4a\x80\x80\x80\x80\x10"},
	{"a length of 2^63", "error PROTOCOL_ERROR", "\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
	{"a varint that does not end", "error PROTOCOL_ERROR", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
	{"the end of a group", "error PROTOCOL_ERROR", "\x4c"},
	{"a group that does not end", "error PROTOCOL_ERROR", "\x4b"},
	{"wire type six", "error PROTOCOL_ERROR", "\x4e\x00"},
	{"wire type seven", "error PROTOCOL_ERROR", "\x4f\x00"},
	{"10,001 groups in each other", "error PROTOCOL_ERROR", strings.Repeat("\x7b", 10_001) + strings.Repeat("\x7c", 10_001)},
	{"bytes of 0xff", "error PROTOCOL_ERROR", strings.Repeat("\xff", 100)},
	{"a command cut short", "error PROTOCOL_ERROR", "\x2a\x10\x0a\x0e"},
	{"a publish cut inside", "error PROTOCOL_ERROR", field(framePublish, "\x0a\x05ab")},
	{"a subscribe with a length past the end", "error PROTOCOL_ERROR", field(frameSubscribe, "\x0a\x7f")},
	{"an ack with a varint that does not end", "error PROTOCOL_ERROR", field(frameAck, "\x08\xff")},
	{"an id that is a text", "pong", field(frameID, "2") + field(framePing, "")},
	{"a ping that is a number", "error PROTOCOL_ERROR", field(framePing, 1)},
	{"an address that is a number", "error FIELD_INVALID address", field(frameSubscribe, field(1, 5))},
	{"an unknown field", "pong", field(framePing, "") + field(99, "x")},
	{"an unknown field inside", "pong", field(framePing, field(7, "x"))},
	{"60 KiB of unknown fields", "pong", field(framePing, "") + strings.Repeat(field(98, strings.Repeat("x", 1000)), 60)},
	{"unknown fields in each other", "pong", field(framePing, nested(9, 1000))},
	{"an unknown command", "error PROTOCOL_ERROR", field(frameID, 2) + field(55, "")},
	{"two commands", "error FIELD_INVALID address", field(frameID, 2) + field(framePing, "") + field(frameUnsubscribe, field(1, "channels/open:a"))},
}

// texts are fields that are texts: each is given bytes that are no UTF-8.
var texts = map[string]string{
	"connect.token": field(frameConnect, field(1, "\xff")), "subscribe.address": field(frameSubscribe, field(1, "\xff")),
	"subscribe.after.epoch": field(frameSubscribe, field(1, "channels/open:a")+field(2, field(1, "\xff"))), "unsubscribe.address": field(frameUnsubscribe, field(1, "\xff")),
	"publish.to": field(framePublish, field(1, "\xff")), "history.address": field(frameHistory, field(1, "\xff")), "presence.address": field(framePresence, field(1, "\xff")),
	"refresh.token": field(frameRefresh, field(1, "\xff")), "ack.address": field(frameAck, field(1, "\xff")),
}

// binaryCommands are wrong commands: the same as in JSON are refused in the same way.
var binaryCommands = []struct {
	name, want string
	frame      *edgev1.ClientFrame
}{
	{"connect again", "error ALREADY_CONNECTED", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Connect{Connect: &edgev1.Connect{Token: "x"}}}},
	{"subscribe to nothing", "error FIELD_INVALID address", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Subscribe{Subscribe: &edgev1.Subscribe{}}}},
	{"subscribe to no address", "error FIELD_INVALID address", subscribing("open:a")},
	{"subscribe to a pattern", "error FIELD_INVALID address", subscribing("channels/*")},
	{"subscribe to what is not granted", "error CHANNEL_SUBSCRIBE_DENIED", subscribing("channels/secret")},
	{"subscribe to another's address", "error CHANNEL_SUBSCRIBE_DENIED", subscribing("users/bob")},
	{"subscribe to the system", "error FIELD_INVALID address", subscribing("system/revoked")},
	{"subscribe to NUL", "error FIELD_INVALID address", subscribing("channels/a\x00")},
	{"unsubscribe from nothing", "error FIELD_INVALID address", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Unsubscribe{Unsubscribe: &edgev1.Unsubscribe{}}}},
	{"publish to nothing", "error FIELD_INVALID to", publishing(&publishv1.PublishRequest{Data: []byte("1")})},
	{"publish what is not granted", "error CHANNEL_PUBLISH_DENIED", publishing(&publishv1.PublishRequest{To: "channels/secret", Data: []byte("1")})},
	{"publish to everybody", "error CHANNEL_PUBLISH_DENIED", publishing(&publishv1.PublishRequest{To: "broadcast", Data: []byte("1")})},
	{"publish JSON that is none", "error FIELD_INVALID data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte(`{"a":`)})},
	{"publish JSON and more", "error FIELD_INVALID data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte(`1,"sender":{}`)})},
	{"publish 10,000 levels", "error FIELD_INVALID data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))})},
	{"publish JSON that is no UTF-8", "error FIELD_INVALID data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("\"\xff\"")})},
	{"publish text that is no UTF-8", "error FIELD_INVALID data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("\xff"), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT})},
	{"publish an unknown content type", "error FIELD_INVALID content_type", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1"), ContentType: 99})},
	{"publish a negative ttl", "error FIELD_INVALID ttl", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1"), Ttl: durationpb.New(-1)})},
	{"publish a ttl that is none", "error FIELD_INVALID ttl", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1"), Ttl: &durationpb.Duration{Nanos: 2e9}})},
	{"publish too much", "error MESSAGE_TOO_LARGE data", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte(`"` + strings.Repeat("x", 70_000) + `"`)})},
	{"publish with a long key", "error FIELD_INVALID idempotency_key", publishing(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1"), IdempotencyKey: strings.Repeat("k", 129)})},
	{"history of nothing", "error FIELD_INVALID address", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_History{History: &publishv1.ListMessagesRequest{}}}},
	{"history, a page of -1", "error FIELD_INVALID page_size", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_History{History: &publishv1.ListMessagesRequest{Address: "channels/open:a", PageSize: -1}}}},
	{"history, a page token that is none", "error FIELD_INVALID page_token", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_History{History: &publishv1.ListMessagesRequest{Address: "channels/open:a", PageToken: "x"}}}},
	{"presence of nothing", "error FIELD_INVALID address", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Presence{Presence: &publishv1.ListMembersRequest{}}}},
	{"ack of nothing", "error FIELD_INVALID address,ids", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Ack{Ack: &publishv1.AckMessagesRequest{}}}},
	{"ack of another's message", "error PERMISSION_DENIED", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Ack{Ack: &publishv1.AckMessagesRequest{Address: "users/bob", Ids: []string{"x"}}}}},
	{"refresh with nothing", "error TOKEN_MISSING", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Refresh{Refresh: &edgev1.Refresh{}}}},
	{"refresh with no token", "error TOKEN_INVALID", &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Refresh{Refresh: &edgev1.Refresh{Token: "x"}}}},
}

func subscribing(address string) *edgev1.ClientFrame {
	return &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Subscribe{Subscribe: &edgev1.Subscribe{Address: address}}}
}

func publishing(p *publishv1.PublishRequest) *edgev1.ClientFrame {
	return &edgev1.ClientFrame{Command: &edgev1.ClientFrame_Publish{Publish: p}}
}

func TestBinaryFrames(t *testing.T) {
	s := start(t, "WebSocket, protobuf")
	try := func(name, want, frame string, connected bool) {
		s.row(name, want, func(t *testing.T) string {
			ws := s.binary(t, connected)
			testkit.Check(t, ws.WriteMessage(websocket.BinaryMessage, []byte(frame)))
			return s.binaryReply(t, ws)
		})
	}
	for _, r := range binaryFrames {
		try(r.name, r.want, r.frame, true)
		want := r.want
		if proto.Unmarshal([]byte(r.frame), new(edgev1.ClientFrame)) == nil { // it can be read, and connects nobody
			want = "error NOT_CONNECTED"
		}
		try("first, "+r.name, want, r.frame, false)
	}
	for name, frame := range texts {
		try("no UTF-8 in "+name, "error FIELD_INVALID "+name, frame, true)
	}
	for _, c := range binaryCommands {
		c.frame.Id = 2
		b, err := proto.Marshal(c.frame)
		testkit.Check(t, err)
		try(c.name, c.want, string(b), true)
	}
	for name, frame := range map[string]*edgev1.ClientFrame{"subscribe": subscribing("channels/open:a"), "publish": publishing(&publishv1.PublishRequest{To: "channels/open:a"})} {
		b, err := proto.Marshal(frame)
		testkit.Check(t, err)
		try(name+" before connect", "error NOT_CONNECTED", string(b), false)
	}
	s.row("text", "error UNSUPPORTED_MEDIA_TYPE, close 1003", func(t *testing.T) string {
		ws := s.binary(t, true)
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"id":2,"ping":{}}`)))
		return s.binaryReply(t, ws) + ", " + s.binaryReply(t, ws)
	})
}
