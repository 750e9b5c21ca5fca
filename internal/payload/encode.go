package payload

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (p *plan) append(b []byte, m protoreflect.Message, e Encoder) ([]byte, error) {
	switch p.known {
	case timestamp:
		return appendTimestamp(b, m)
	case duration:
		return appendDuration(b, m)
	case special:
		return appendSpecial(b, m)
	}
	b = append(b, '{')
	start := len(b)
	var err error
	for i := range p.fields {
		f := &p.fields[i]
		if f.mute || !m.Has(f.desc) && (!e.EmitDefaults || !showsDefault(f.desc)) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		if f.desc == p.data {
			b = appendData(b, formOf(p.contentType.Enum(), m.Get(p.contentType).Enum()), m.Get(p.data).Bytes())
			continue
		}
		if b, err = f.append(b, m.Get(f.desc), e); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func showsDefault(d protoreflect.FieldDescriptor) bool {
	if d.IsList() {
		return true
	}
	if d.HasPresence() || d.IsMap() {
		return false
	}
	switch d.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return false
	}
	return true
}

// appendData embeds a payload. A JSON payload with line breaks is compacted, because one message must stay on one line of a
// stream. Should it be no JSON after all, it goes out as a string.
func appendData(b []byte, f form, data []byte) []byte {
	switch f {
	case formText:
		return appendString(b, string(data))
	case formBinary:
		return appendBase64(b, data)
	}
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return append(b, data...)
	}
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return appendString(b, string(data))
	}
	return append(b, line.Bytes()...)
}

func (f *field) append(b []byte, v protoreflect.Value, e Encoder) ([]byte, error) {
	switch {
	case f.desc.IsList():
		return f.appendList(b, v.List(), e)
	case f.desc.IsMap():
		return f.appendMap(b, v.Map(), e)
	}
	return f.appendOne(b, f.desc, v, e)
}

func (f *field) appendList(b []byte, list protoreflect.List, e Encoder) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = f.appendOne(b, f.desc, list.Get(i), e); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (f *field) appendMap(b []byte, m protoreflect.Map, e Encoder) ([]byte, error) {
	type entry struct {
		key   string
		value protoreflect.Value
	}
	entries := make([]entry, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries = append(entries, entry{k.String(), v})
		return true
	})
	slices.SortFunc(entries, func(x, y entry) int { return cmp.Compare(x.key, y.key) })
	b = append(b, '{')
	var err error
	for i, x := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, x.key), ':')
		if b, err = f.appendOne(b, f.desc.MapValue(), x.value, e); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (f *field) appendOne(b []byte, d protoreflect.FieldDescriptor, v protoreflect.Value, e Encoder) ([]byte, error) {
	switch d.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return f.sub.append(b, v.Message(), e)
	case protoreflect.StringKind:
		return appendString(b, v.String()), nil
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.BytesKind:
		return appendBase64(b, v.Bytes()), nil
	case protoreflect.EnumKind:
		if name := d.Enum().Values().ByNumber(v.Enum()); name != nil {
			return appendString(b, string(name.Name())), nil
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		// A string, because the numbers of many JSON readers end at 2^53.
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"'), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"'), nil
	case protoreflect.FloatKind:
		return appendFloat(b, v.Float(), 32), nil
	}
	return appendFloat(b, v.Float(), 64), nil
}

func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

func appendBase64(b, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), data), '"')
}

const hex = "0123456789abcdef"

// appendString quotes s; what is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// appendSpecial writes the other well-known types as protobuf's own mapping does.
func appendSpecial(b []byte, m protoreflect.Message) ([]byte, error) {
	raw, err := protojson.Marshal(m.Interface())
	if err != nil {
		return nil, err
	}
	// protojson puts in spaces at random, on purpose.
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return nil, err
	}
	return append(b, line.Bytes()...), nil
}
