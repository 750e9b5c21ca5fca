package native

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Proto speaks trunkline.v1.proto.
type Proto struct{}

var (
	_ dialect.Stateless = Proto{}
	_ dialect.Strict    = Proto{}
)

// RefusesHaste says that a client that sends too fast is told so, and closed.
func (Proto) RefusesHaste() {}

// Name returns "proto".
func (Proto) Name() string { return "proto" }

// Opcode returns Binary.
func (Proto) Opcode() dialect.Opcode { return dialect.Binary }

// Hello takes handshakes that prefer trunkline.v1.proto.
func (Proto) Hello(r *http.Request) (dialect.Hello, bool) {
	return hello(r, SubprotocolProto, SubprotocolJSON)
}

// Decode reads one serialized ClientFrame.
func (Proto) Decode(op dialect.Opcode, data []byte) (*edgev1.ClientFrame, error) {
	if op != dialect.Binary {
		return nil, dialect.ErrWrongOpcode
	}
	f := new(edgev1.ClientFrame)
	if err := payload.UnmarshalWire(data, f); err != nil {
		if e, ok := errors.AsType[*payload.Error](err); ok && e.Kind == payload.FieldInvalid {
			return nil, decodeError(err) // a text that is not UTF-8
		}
		return nil, bus.ErrProtocol.With("the frame is not a trunkline.edge.v1.ClientFrame", nil)
	}
	return f, nil
}

// Reply serializes an answer or event.
func (Proto) Reply(dst []byte, f *edgev1.ServerFrame) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, f)
}

// Close returns the code of the catalogue and the reason.
func (Proto) Close(e *bus.Error) (int, string) { return closing(e) }

// Field numbers of trunkline.edge.v1.ServerFrame and trunkline.publish.v1.Message; a test compares
// them with the generated types.
const (
	frameMessage        = 2
	messageID           = 1
	messageTo           = 2
	messageFrom         = 3
	messageData         = 4
	messageContentType  = 5
	messageAttributes   = 6
	messagePublishTime  = 7
	messageExpireTime   = 8
	messagePosition     = 9
	messageRedelivered  = 10
	messageAckRequired  = 11
	longestLengthPrefix = 5
)

// Message writes a ServerFrame with a message without reflection: it runs once for every message.
func (Proto) Message(dst []byte, m *bus.Message) []byte {
	dst = protowire.AppendTag(dst, frameMessage, protowire.BytesType)
	return nested(dst, func(dst []byte) []byte {
		dst = text(dst, messageID, m.ID)
		dst = text(dst, messageTo, m.To.String())
		if m.From != (bus.Sender{}) {
			dst = protowire.AppendTag(dst, messageFrom, protowire.BytesType)
			dst = nested(dst, func(dst []byte) []byte {
				return text(text(dst, 1, m.From.Client), 2, m.From.User)
			})
		}
		if len(m.Data) > 0 {
			dst = protowire.AppendTag(dst, messageData, protowire.BytesType)
			dst = protowire.AppendBytes(dst, m.Data)
		}
		if m.ContentType != bus.JSON {
			dst = number(dst, messageContentType, uint64(m.ContentType))
		}
		for _, key := range keys(m.Attributes) {
			dst = protowire.AppendTag(dst, messageAttributes, protowire.BytesType)
			dst = nested(dst, func(dst []byte) []byte {
				return text(text(dst, 1, key), 2, m.Attributes[key])
			})
		}
		dst = timestamp(dst, messagePublishTime, m.Published)
		dst = timestamp(dst, messageExpireTime, m.Expires)
		if !m.Position.IsZero() {
			dst = protowire.AppendTag(dst, messagePosition, protowire.BytesType)
			dst = nested(dst, func(dst []byte) []byte {
				return number(text(dst, 1, m.Position.Epoch), 2, m.Position.Offset)
			})
		}
		if m.Redelivered {
			dst = number(dst, messageRedelivered, 1)
		}
		if m.Ack != 0 {
			dst = number(dst, messageAckRequired, 1)
		}
		return dst
	})
}

// nested writes a length-prefixed message: the body first, moved behind its length afterwards.
func nested(dst []byte, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, longestLengthPrefix)...)
	dst = body(dst)
	size := len(dst) - start - longestLengthPrefix
	prefix := protowire.AppendVarint(dst[start:start], uint64(size))
	copy(dst[start+len(prefix):], dst[start+longestLengthPrefix:])
	return dst[:start+len(prefix)+size]
}

func text(dst []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

func number(dst []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
}

func timestamp(dst []byte, field protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return nested(dst, func(dst []byte) []byte {
		dst = number(dst, 1, uint64(t.Unix()))
		return number(dst, 2, uint64(int64(t.Nanosecond())))
	})
}

func keys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
