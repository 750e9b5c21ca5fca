package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// commands are the fields of a frame that are one.
func commands() (all []protoreflect.FieldDescriptor) {
	fields := (*edgev1.ClientFrame)(nil).ProtoReflect().Descriptor().Oneofs().ByName("command").Fields()
	for i := range fields.Len() {
		all = append(all, fields.Get(i))
	}
	return all
}

// wrongJSON returns bodies of a message with one member wrong in each, and what is wrong with it by name.
func wrongJSON(d protoreflect.MessageDescriptor, depth int) map[string]string {
	wrong := map[string]string{"an unknown member": `{"no such member":1}`, "a list": `[]`, "a text": `"x"`, "a number": `7`}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		name := f.JSONName()
		for what, value := range map[string]string{"number": `7`, "text": `"\u0000~"`, "list": `[[]]`, "object": `{"?":{}}`, "bool": `true`, "big": `1e400`} {
			wrong[name+" is a "+what] = fmt.Sprintf(`{%q:%s}`, name, value)
		}
		wrong[name+" twice"] = fmt.Sprintf(`{%q:null,%q:null}`, name, name)
		wrong[name+" is not JSON"] = fmt.Sprintf(`{%q:NaN}`, name)
		if f.Message() == nil || f.IsMap() || depth == 0 {
			continue
		}
		for what, body := range wrongJSON(f.Message(), depth-1) {
			if f.IsList() {
				body = `[` + body + `]`
			}
			wrong[name+"."+what] = fmt.Sprintf(`{%q:%s}`, name, body)
		}
	}
	return wrong
}

// wrongWire is the same for serialized messages.
func wrongWire(d protoreflect.MessageDescriptor, depth int) map[string][]byte {
	wrong := map[string][]byte{"cut": {0xFF}, "an unknown field, cut": {0xFA, 0x7F, 9}, "a group without end": {0xFB, 0x7F}}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		name := string(f.Name())
		field := func(content []byte) []byte {
			return protowire.AppendBytes(protowire.AppendTag(nil, f.Number(), protowire.BytesType), content)
		}
		wrong[name+" is not UTF-8"] = field([]byte{0xFF})
		wrong[name+" is cut"] = field([]byte("xyz"))[:3]
		wrong[name+" is a number"] = protowire.AppendVarint(protowire.AppendTag(nil, f.Number(), protowire.VarintType), 1<<63)
		wrong[name+" is a long varint"] = append(protowire.AppendTag(nil, f.Number(), protowire.VarintType), strings.Repeat("\xFF", 11)...)
		if f.Message() == nil || depth == 0 {
			continue
		}
		for what, body := range wrongWire(f.Message(), depth-1) {
			wrong[name+"."+what] = field(body)
		}
	}
	return wrong
}

// answered waits for the answer to a frame, which must have its number, and says whether it is a refusal.
func answered(t *testing.T, ws *websocket.Conn, decode func([]byte, *edgev1.ServerFrame) error, number uint32, what string) bool {
	t.Helper()
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	for {
		_, b, err := ws.ReadMessage()
		testkit.Check(t, err)
		f := new(edgev1.ServerFrame)
		testkit.Check(t, decode(b, f))
		if f.GetId() == 0 && f.GetError() == nil {
			continue
		}
		if f.GetId() != number {
			t.Fatalf("%s: the answer has the id %d, want %d: %s", what, f.GetId(), number, b)
		}
		return f.GetError() != nil
	}
}

func decodeWire(b []byte, f *edgev1.ServerFrame) error { return proto.Unmarshal(b, f) }

// quick lets a client send as fast as it can.
var quick = edge.Config{CommandsPerSecond: 1e6, CommandBurst: 1e6}

// Whatever is wrong with a command, the answer has its number: a client that waits for the number must not wait for ever.
func TestNumber_ofARefusedCommand(t *testing.T) {
	h := start(t, quick)
	token := h.token("ada", everything)
	t.Run("JSON", func(t *testing.T) {
		ws, number, refused := h.connected(token).ws, uint32(10), 0
		for _, command := range commands() {
			for what, body := range wrongJSON(command.Message(), 1) {
				for _, form := range []string{`{"id":%[1]d,%[2]q:%[3]s}`, `{%[2]q:%[3]s,"id":%[1]d}`, `{%[2]q:%[3]s,"\u0069d":"%[1]d"}`, `{"id":%[1]d,%[2]q:%[3]s`} {
					number++
					text := fmt.Sprintf(form, number, command.JSONName(), body)
					testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(text)))
					if answered(t, ws, decodeJSON, number, command.JSONName()+", "+what+": "+text) {
						refused++
					}
				}
			}
		}
		if refused < 1000 {
			t.Errorf("%d were refused", refused)
		}
	})
	t.Run("protobuf", func(t *testing.T) {
		ws, number, refused := h.proto(token).ws, uint32(10), 0
		for _, command := range commands() {
			for what, body := range wrongWire(command.Message(), 1) {
				for _, last := range []bool{false, true} {
					number++
					id := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(number))
					frame := protowire.AppendBytes(protowire.AppendTag(nil, command.Number(), protowire.BytesType), body)
					if last {
						frame = append(frame, id...)
					} else {
						frame = append(id, frame...)
					}
					testkit.Check(t, ws.WriteMessage(websocket.BinaryMessage, frame))
					if answered(t, ws, decodeWire, number, fmt.Sprintf("%s, %s: %x", command.Name(), what, frame)) {
						refused++
					}
				}
			}
		}
		if refused < 300 {
			t.Errorf("%d were refused", refused)
		}
	})
}

// A frame that is no known command, or whose number cannot be read.
func TestNumber_thatCanBeRead(t *testing.T) {
	h := start(t, quick)
	token := h.token("ada")
	ws := h.connected(token).ws
	for text, number := range map[string]uint32{
		`{"id":7,"dance":{}}`: 7, `{"dance":{},"id":7}`: 7, `{"id":7}`: 7, `{"id":7,"ping":{},"ping":{}}`: 7, `{"id":7,"ping":{},"history":{}}`: 7,
		`{"id":"7","dance":1}`: 7, `{"id":7.0,"dance":1}`: 7, `{"id":0.7e1,"dance":1}`: 7, "\t{ \"id\" : 7 , \"dance\" : 1 }": 7, `{"id":4294967295,"a":1}`: 4294967295,
		`{"id":7,"ping":`: 7, `{"id":7,`: 7, `{'ping':{},"id":7}`: 0, `{"id":7,'ping':{}}`: 7, `{"id":7 "ping":{}}`: 7, `{"ping":undefined,"id":7}`: 7, `{"id":7,}`: 7,
		`{"ping":{"id":7},"dance":1}`: 0, `{"a":"\"id\":7"}`: 0, `{"a":"{\"id\":7}","id":8}`: 8, `{"a":[{"id":7},"]"],"id":8}`: 8,
		`{"id":7,"id":8,"ping":{}}`: 0, `{"id":7,"ping":{},"id":7}`: 0, `{"id":-7,"ping":{}}`: 0, `{"id":7.5,"ping":{}}`: 0, `{"id":4294967296,"ping":{}}`: 0,
		`{"id":"x","ping":{}}`: 0, `{"id":[7],"ping":{}}`: 0, `{"id":true,"ping":{}}`: 0, `{"id":null,"dance":{}}`: 0, `{"id":1`: 0, `{"id`: 0, `{`: 0, ``: 0, `7`: 0,
		`[{"id":7}]`: 0, `"id":7`: 0, `{"ID":7,"ping":{}}`: 0, `{"id":{"id":7},"ping":{}}`: 0, `{"id":}`: 0, `{"id":"7`: 0, `{"id":007,"ping":{}}`: 0,
	} {
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(text)))
		if !answered(t, ws, decodeJSON, number, text) {
			t.Errorf("%s was not refused", text)
		}
	}
	ws = h.proto(token).ws
	for text, number := range map[string]uint32{
		"\x08\x07": 7, "\x08\x07\xFF": 7, "\x08\x07\x08\x08\xFF": 8, "\xFF\x08\x07": 0, "\x4A\x7F\x08\x07": 0, "\x08\x07\x4A\x01": 7, "\x0A\x01\x07\xFF": 0,
		"\x08": 0, "": 0, "\x0D\x07\x00\x00\x00\xFF": 0, "\x7A\x02\x08\x07\xFF": 0,
	} {
		testkit.Check(t, ws.WriteMessage(websocket.BinaryMessage, []byte(text)))
		if !answered(t, ws, decodeWire, number, fmt.Sprintf("%x", text)) {
			t.Errorf("%x was not refused", text)
		}
	}
}

// A refusal that ends the connection is told twice: as the answer to the command, and as the event before the close frame.
func TestNumber_ofACommandThatEndsTheConnection(t *testing.T) {
	h := start(t, edge.Config{CommandsPerSecond: 1e-3, CommandBurst: 2})
	token, other := h.token("ada"), h.token("bob")
	for name, c := range map[string]struct {
		connect bool
		text    string
		reason  string
	}{
		"before connect":                  {false, `{"id":7,"ping":{}}`, "NOT_CONNECTED"},
		"before connect, unreadable":      {false, `{"id":7,"dance":{}}`, "UNKNOWN_FIELD"},
		"before connect, not JSON":        {false, `{"id":7,`, "INVALID_JSON"},
		"a connect without a token":       {false, `{"id":7,"connect":{}}`, "TOKEN_MISSING"},
		"a connect with a bad token":      {false, `{"id":7,"connect":{"token":"x"}}`, "TOKEN_INVALID"},
		"a connect with a wrong member":   {false, `{"id":7,"connect":{"token":7}}`, "FIELD_INVALID"},
		"a connect with a long name":      {false, `{"id":7,"connect":{"token":"x","name":"` + strings.Repeat("n", 65) + `"}}`, "FIELD_INVALID"},
		"a connect with token and ticket": {false, `{"id":7,"connect":{"token":"x","ticket":"x"}}`, "FIELD_INVALID"},
		"not UTF-8":                       {true, "{\"id\":7,\"publish\":{\"to\":\"\xFF\"}}", "PROTOCOL_ERROR"},
		"another user's token":            {true, fmt.Sprintf(`{"id":7,"refresh":{"token":%q}}`, other), "TOKEN_INVALID"},
		"too fast":                        {true, `{"id":6,"ping":{}}`, "RATE_LIMITED"},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial("")
			if c.connect {
				w = h.connected(token)
			}
			w.send(c.text)
			if c.reason == "RATE_LIMITED" {
				w.read()
				w.send(`{"id":7,"ping":{}}`)
			}
			for _, id := range []any{float64(7), nil} {
				f := w.read()
				if e, _ := f["error"].(map[string]any); f["id"] != id || e["reason"] != c.reason {
					t.Errorf("got %v, want %v with the id %v", f, c.reason, id)
				}
			}
			w.closed()
		})
	}
	t.Run("text on a binary connection", func(t *testing.T) {
		ws := h.proto(token).ws
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte("\x08\x07\x4A\x00")))
		answered(t, ws, decodeWire, 7, "a ping as text")
	})
}

func decodeJSON(b []byte, f *edgev1.ServerFrame) error { return payload.Unmarshal(b, f) }
