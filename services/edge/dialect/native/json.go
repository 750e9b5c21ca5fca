package native

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// JSON speaks trunkline.v1.json. It also takes handshakes that offer none of our subprotocols, so that
// any WebSocket library can be used.
type JSON struct{}

var (
	_ dialect.Stateless = JSON{}
	_ dialect.Strict    = JSON{}
)

// RefusesHaste says that a client that sends too fast is told so, and closed.
func (JSON) RefusesHaste() {}

// Name returns "json".
func (JSON) Name() string { return "json" }

// Opcode returns Text.
func (JSON) Opcode() dialect.Opcode { return dialect.Text }

// Hello takes every handshake that does not prefer the other subprotocol.
func (JSON) Hello(r *http.Request) (dialect.Hello, bool) {
	if h, ok := hello(r, SubprotocolJSON, SubprotocolProto); ok {
		return h, true
	}
	if _, ok := hello(r, SubprotocolProto, SubprotocolJSON); ok {
		return dialect.Hello{}, false
	}
	return withToken(r, dialect.Hello{}), true
}

// Decode reads one JSON frame.
func (JSON) Decode(op dialect.Opcode, data []byte) (*edgev1.ClientFrame, error) {
	if op != dialect.Text {
		return nil, dialect.ErrWrongOpcode
	}
	if f, ok := decodeConnect(data); ok {
		return f, nil
	}
	f := new(edgev1.ClientFrame)
	if err := payload.Unmarshal(data, f); err != nil {
		return nil, decodeError(err)
	}
	return f, nil
}

// Reply encodes an answer or event.
func (JSON) Reply(dst []byte, f *edgev1.ServerFrame) ([]byte, error) { return payload.Append(dst, f) }

// Close returns the code of the catalogue and the reason.
func (JSON) Close(e *bus.Error) (int, string) { return closing(e) }

// timeLayout is RFC 3339 in UTC with milliseconds, as protojson writes a Timestamp.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Message writes {"message":{…}} without reflection: it runs once for every message.
func (JSON) Message(dst []byte, m *bus.Message) []byte {
	dst = append(dst, `{"message":{"id":`...)
	dst = appendString(dst, m.ID)
	dst = append(dst, `,"to":`...)
	dst = appendString(dst, m.To.String())
	if m.From != (bus.Sender{}) {
		dst = append(dst, `,"sender":`...)
		dst = appendSender(dst, m.From)
	}
	dst = appendData(dst, m)
	if len(m.Attributes) > 0 {
		dst = append(dst, `,"attributes":`...)
		b, _ := json.Marshal(m.Attributes) // a map of strings always encodes; keys are sorted
		dst = append(dst, b...)
	}
	dst = append(dst, `,"publishTime":"`...)
	dst = m.Published.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, '"')
	if !m.Expires.IsZero() {
		dst = append(dst, `,"expireTime":"`...)
		dst = m.Expires.UTC().AppendFormat(dst, timeLayout)
		dst = append(dst, '"')
	}
	if !m.Position.IsZero() {
		dst = append(dst, `,"position":{"epoch":`...)
		dst = appendString(dst, m.Position.Epoch)
		dst = append(dst, `,"offset":"`...)
		dst = strconv.AppendUint(dst, m.Position.Offset, 10)
		dst = append(dst, `"}`...)
	}
	if m.Redelivered {
		dst = append(dst, `,"redelivered":true`...)
	}
	if m.Ack != 0 {
		dst = append(dst, `,"ackRequired":true`...)
	}
	return append(dst, `}}`...)
}

func appendSender(dst []byte, s bus.Sender) []byte {
	dst = append(dst, '{')
	if s.Client != "" {
		dst = append(dst, `"client":`...)
		dst = appendString(dst, s.Client)
	}
	if s.User != "" {
		if s.Client != "" {
			dst = append(dst, ',')
		}
		dst = append(dst, `"user":`...)
		dst = appendString(dst, s.User)
	}
	return append(dst, '}')
}

// appendData writes the payload as the value that it is. JSON was checked when it was published.
func appendData(dst []byte, m *bus.Message) []byte {
	if len(m.Data) == 0 && m.ContentType == bus.JSON {
		return dst
	}
	dst = append(dst, `,"data":`...)
	switch m.ContentType {
	case bus.Text:
		dst = appendString(dst, string(m.Data))
		return append(dst, `,"contentType":"CONTENT_TYPE_TEXT"`...)
	case bus.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, m.Data)
		return append(dst, `","contentType":"CONTENT_TYPE_BINARY"`...)
	default:
		return append(dst, m.Data...)
	}
}

// appendString writes a JSON string (RFC 8259, section 7).
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string always encodes
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
