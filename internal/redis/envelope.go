package redis

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/trunkline/trunkline/internal/bus"
)

// Field numbers of trunkline.wire.v1.Envelope, which is coded by hand because it is on the way of every
// message; a test compares both.
const (
	envelopeID = iota + 1
	envelopeData
	envelopeContentType
	envelopePublishTime
	envelopeTTL
	envelopeFromClient
	envelopeFromUser
	envelopeRecipients
	envelopeExcludeClient
	envelopeExcludeConnection
	envelopeAttributes
	envelopeKind
	envelopeAckScope
)

// envelopeOverhead is what tags, lengths, numbers and times take, about.
const envelopeOverhead = 32

// encode returns the envelope of a message, without its address and position.
func encode(m *bus.Message) []byte { return appendEnvelope(nil, m) }

func appendEnvelope(before []byte, m *bus.Message) []byte {
	// A size that is a little too large costs less than to grow the slice.
	size := len(before) + len(m.Data) + len(m.ID) + len(m.From.Client) + len(m.From.User) + len(m.ExcludeClient) + len(m.ExcludeConnection) + envelopeOverhead
	b := append(make([]byte, 0, size), before...)
	b = appendText(b, envelopeID, m.ID)
	if len(m.Data) > 0 {
		b = protowire.AppendTag(b, envelopeData, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Data)
	}
	b = appendNumber(b, envelopeContentType, uint64(m.ContentType))
	b = appendNumber(b, envelopePublishTime, millis(m.Published))
	b = appendNumber(b, envelopeTTL, ttl(m))
	b = appendText(b, envelopeFromClient, m.From.Client)
	b = appendText(b, envelopeFromUser, m.From.User)
	for _, r := range m.Recipients {
		b = protowire.AppendTag(b, envelopeRecipients, protowire.BytesType)
		b = protowire.AppendString(b, r)
	}
	b = appendText(b, envelopeExcludeClient, m.ExcludeClient)
	b = appendText(b, envelopeExcludeConnection, m.ExcludeConnection)
	b = appendNumber(b, envelopeKind, uint64(m.Kind))
	b = appendNumber(b, envelopeAckScope, uint64(m.Ack))
	if len(m.Attributes) == 0 {
		return b
	}
	names := make([]string, 0, len(m.Attributes))
	for name := range m.Attributes {
		names = append(names, name)
	}
	// In one order, so that the same message always has the same bytes.
	slices.Sort(names)
	for _, name := range names {
		entry := appendText(appendText(nil, 1, name), 2, m.Attributes[name])
		b = protowire.AppendTag(b, envelopeAttributes, protowire.BytesType)
		b = protowire.AppendBytes(b, entry)
	}
	return b
}

// ttl is how long after its publish time a message ends, in ms; 0 for never.
func ttl(m *bus.Message) uint64 {
	if m.Expires.IsZero() {
		return 0
	}
	return uint64(max(m.Expires.Sub(m.Published).Milliseconds(), 1)) // positive
}

func millis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli()) // int64 travels as two's complement
}

func fromMillis(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)) // see millis
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

// errEnvelope is something in the store that is no envelope.
var errEnvelope = errors.New("not an envelope")

// decode reads an envelope that was published at the time, in ms; 0 for that in the envelope. The message shares b's bytes. Fields of
// a later version are skipped.
func decode(b []byte, at uint64, m *bus.Message) error {
	var ttl, published uint64
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errEnvelope
		}
		b = b[n:]
		switch kind {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 || !setBytes(m, field, v) {
				return errEnvelope
			}
			b = b[n:]
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errEnvelope
			}
			switch field {
			case envelopeTTL:
				ttl = v
			case envelopePublishTime:
				published = v
			default:
				if !setNumber(m, field, v) {
					return errEnvelope
				}
			}
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(field, kind, b)
			if n < 0 {
				return errEnvelope
			}
			b = b[n:]
		}
	}
	// The script takes the server's time; the envelope has an estimate of it.
	if at != 0 {
		published = at
	}
	if !inTime(published) || !sound(m) {
		return errEnvelope
	}
	m.Published = fromMillis(published)
	// What ends after all times that can be told never ends.
	if ttl != 0 && ttl <= lastMillis && inTime(published+ttl) {
		m.Expires = fromMillis(published + ttl)
	}
	return nil
}

func setBytes(m *bus.Message, field protowire.Number, v []byte) bool {
	switch field {
	case envelopeID:
		m.ID = string(v)
	case envelopeData:
		m.Data = v
	case envelopeFromClient:
		m.From.Client = string(v)
	case envelopeFromUser:
		m.From.User = string(v)
	case envelopeRecipients:
		m.Recipients = append(m.Recipients, string(v))
	case envelopeExcludeClient:
		m.ExcludeClient = string(v)
	case envelopeExcludeConnection:
		m.ExcludeConnection = string(v)
	case envelopeAttributes:
		return setAttribute(m, v)
	}
	return true
}

func setAttribute(m *bus.Message, b []byte) bool {
	var name, value string
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			return false
		}
		v, n2 := protowire.ConsumeBytes(b[n:])
		if n2 < 0 {
			return false
		}
		switch field {
		case 1:
			name = string(v)
		case 2:
			value = string(v)
		}
		b = b[n+n2:]
	}
	if m.Attributes == nil {
		m.Attributes = make(map[string]string)
	}
	m.Attributes[name] = value
	return true
}

// setNumber is false for a number that the field does not know.
func setNumber(m *bus.Message, field protowire.Number, v uint64) bool {
	if v > math.MaxUint8 {
		return field > envelopeAckScope // of a later version
	}
	switch field {
	case envelopeContentType:
		m.ContentType = bus.ContentType(v)
	case envelopeKind:
		m.Kind = bus.MessageKind(v)
	case envelopeAckScope:
		m.Ack = bus.AckScope(v)
		return m.Ack <= bus.EachDevice
	}
	return true
}

// decodePush reads what a pub/sub channel carries: a line with the position and the publish time, and an envelope. The result
// copied is set when a copy comes on the alias of the address next. The message shares the payload's bytes.
func decodePush(to bus.Address, payload []byte) (m *bus.Message, copied bool, err error) {
	payload, copied = bytes.CutPrefix(payload, []byte("!"))
	m, err = decodePushed(to, payload)
	return m, copied, err
}

func decodePushed(to bus.Address, payload []byte) (*bus.Message, error) {
	head, envelope, ok := bytes.Cut(payload, []byte("\n"))
	if !ok {
		return nil, errEnvelope
	}
	line := string(head)
	m := &bus.Message{To: to}
	var at uint64
	if line != "" {
		epoch, rest, ok1 := strings.Cut(line, " ")
		offset, ms, timed := strings.Cut(rest, " ")
		n, err := strconv.ParseUint(offset, 10, 64)
		if !ok1 || err != nil || epoch != "" && !epochText(epoch) {
			return nil, errEnvelope
		}
		// A time stands there when a script has sent the message.
		if timed {
			if at, err = strconv.ParseUint(ms, 10, 63); err != nil {
				return nil, errEnvelope
			}
		}
		if epoch != "" {
			m.Position = bus.Position{Epoch: epoch, Offset: n}
		}
	}
	return m, decode(envelope, at, m)
}

// decodeEntry reads an entry of a stream. The message has its position even where it cannot be read.
func decodeEntry(to bus.Address, epoch, id string, envelope string) (*bus.Message, error) {
	_, ms, ok := strings.Cut(id, "-")
	at, err := strconv.ParseUint(ms, 10, 64)
	m := &bus.Message{To: to, Position: bus.Position{Epoch: epoch, Offset: offsetOf(id)}}
	if !ok || err != nil {
		return m, errEnvelope
	}
	return m, decode([]byte(envelope), at, m)
}
