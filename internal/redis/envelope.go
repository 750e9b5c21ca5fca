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
	var ttl uint64
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
			if field == envelopeTTL {
				ttl = v
			}
			setNumber(m, field, v)
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(field, kind, b)
			if n < 0 {
				return errEnvelope
			}
			b = b[n:]
		}
	}
	if m.ID == "" || m.ContentType < bus.JSON || m.ContentType > bus.Binary {
		return errEnvelope
	}
	// The script takes the server's time; the envelope has an estimate of it.
	if at != 0 {
		m.Published = fromMillis(at)
	}
	// A time that does not fit would wrap round to one in the past.
	if ttl != 0 && ttl <= maxTTL {
		m.Expires = m.Published.Add(time.Duration(ttl) * time.Millisecond)
	}
	return nil
}

// maxTTL is the longest time that a duration holds, in ms. What ends later never ends.
const maxTTL = math.MaxInt64 / uint64(time.Millisecond)

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

func setNumber(m *bus.Message, field protowire.Number, v uint64) {
	switch field {
	case envelopeContentType:
		if v <= uint64(bus.Binary) {
			m.ContentType = bus.ContentType(v)
		}
	case envelopePublishTime:
		m.Published = fromMillis(v)
	case envelopeKind:
		if v <= math.MaxUint8 {
			m.Kind = bus.MessageKind(v)
		}
	case envelopeAckScope:
		if v <= uint64(bus.EachDevice) {
			m.Ack = bus.AckScope(v)
		}
	}
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
		if !ok1 || err != nil {
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

// decodeEntry reads an entry of a stream.
func decodeEntry(to bus.Address, epoch, id string, envelope string) (*bus.Message, error) {
	offset, ms, ok := strings.Cut(id, "-")
	n, err1 := strconv.ParseUint(offset, 10, 64)
	at, err2 := strconv.ParseUint(ms, 10, 63)
	if !ok || err1 != nil || err2 != nil {
		return nil, errEnvelope
	}
	m := &bus.Message{To: to, Position: bus.Position{Epoch: epoch, Offset: n}}
	return m, decode([]byte(envelope), at, m)
}
