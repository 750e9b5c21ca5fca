package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var errSyntax = &Error{Kind: InvalidJSON, Message: "the body is not JSON"}

// rewriter copies a document and turns each payload into the base64 string that protobuf's mapping
// expects. It looks only at the members that lead to a payload. Everything else is copied as it is, twice when it stands there
// twice, so protojson sees and refuses it.
type rewriter struct {
	in    []byte
	at    int
	out   []byte
	depth int
	// reads is set when nothing is written, and free within a payload. How deeply that may nest is for the service to say, at every
	// door in the same words.
	reads, free bool
}

func (t *rewriter) document(p *plan) error {
	if err := t.object(p); err != nil {
		return err
	}
	t.out = append(t.out, t.in[t.at:]...) // protojson refuses anything but space
	return nil
}

// object rewrites an object of the type p.
func (t *rewriter) object(p *plan) error {
	if t.depth++; t.depth > maxDepth {
		return errDepth
	}
	defer func() { t.depth-- }()
	kind := formJSON
	if p.data != nil {
		kind = t.form(p)
	}
	return t.members(func(name string) error {
		f := p.byName[name]
		switch {
		case f == nil:
			return t.copyValue()
		case f.desc == p.data:
			return t.payload(kind)
		case f.desc.IsMap():
			return t.mapping(f.sub)
		case f.sub == nil || !f.sub.carries:
			return t.copyValue()
		case f.desc.IsList():
			return t.list(f.sub)
		}
		return t.message(f.sub)
	})
}

// mapping rewrites a map. PHP encodes an empty one as [], which is taken for {}.
func (t *rewriter) mapping(p *plan) error {
	if t.peek() == '[' {
		start := t.at
		err := t.skipValue()
		if raw := t.in[start:t.at]; err != nil || !empty(raw) {
			t.copy(start)
		} else if !t.reads {
			t.out = append(t.out, '{', '}')
		}
		return err
	}
	if p == nil || !p.carries || t.peek() != '{' {
		return t.copyValue()
	}
	return t.members(func(string) error { return t.message(p) })
}

// empty says whether a list has nothing in it.
func empty(raw []byte) bool { return len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0 }

// message rewrites a value of the type p; what is no object is left to protojson.
func (t *rewriter) message(p *plan) error {
	if t.peek() != '{' {
		return t.copyValue()
	}
	return t.object(p)
}

func (t *rewriter) list(p *plan) error {
	if t.peek() != '[' {
		return t.copyValue()
	}
	t.copyByte()
	if t.peek() == ']' {
		t.copyByte()
		return nil
	}
	for {
		if err := t.message(p); err != nil {
			return err
		}
		switch t.peek() {
		case ',':
			t.copyByte()
		case ']':
			t.copyByte()
			return nil
		default:
			return errSyntax
		}
	}
}

// members copies an object and calls value with the reader in front of each value.
func (t *rewriter) members(value func(name string) error) error {
	if t.peek() != '{' {
		return errSyntax
	}
	t.copyByte()
	if t.peek() == '}' {
		t.copyByte()
		return nil
	}
	for {
		if t.peek() != '"' {
			return errSyntax
		}
		start := t.at
		if err := t.copyValue(); err != nil {
			return err
		}
		name, ok := text(t.in[start:t.at])
		if !ok || t.peek() != ':' {
			return errSyntax
		}
		t.copyByte()
		if err := value(name); err != nil {
			return err
		}
		switch t.peek() {
		case ',':
			t.copyByte()
		case '}':
			t.copyByte()
			return nil
		default:
			return errSyntax
		}
	}
}

// form looks ahead for the content type of the object that begins here; the order of members is free.
func (t *rewriter) form(p *plan) form {
	ahead := rewriter{in: t.in, at: t.at, reads: true, free: true}
	kind := formJSON
	_ = ahead.members(func(name string) error { // a syntax error is found again by the real pass
		f := p.byName[name]
		ahead.peek()
		start := ahead.at
		err := ahead.copyValue()
		if f != nil && f.desc == p.contentType {
			kind = formFrom(p.contentType.Enum(), ahead.in[start:ahead.at])
		}
		return err
	})
	return kind
}

// formFrom reads an enum as protojson does: a name or a number. What is neither is left to protojson.
func formFrom(enum protoreflect.EnumDescriptor, raw []byte) form {
	if name, ok := text(raw); ok {
		if v := enum.Values().ByName(protoreflect.Name(name)); v != nil {
			return formOf(enum, v.Number())
		}
		return formJSON
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if number := protoreflect.EnumNumber(n); err == nil && n == float64(number) && enum.Values().ByNumber(number) != nil {
		return formOf(enum, number)
	}
	return formJSON // the service names a content type that there is not
}

// payload writes the value as base64.
func (t *rewriter) payload(kind form) error {
	t.peek()
	start := t.at
	t.free = true
	err := t.skipValue()
	if t.free = false; err != nil {
		return err
	}
	raw := t.in[start:t.at]
	switch kind {
	case formBinary:
		if raw[0] != '"' {
			return &Error{Kind: FieldInvalid, Message: notBinary}
		}
		t.out = append(t.out, raw...) // protojson reads every alphabet of base64
		return nil
	case formText:
		s, ok := text(raw)
		if !ok || !faithful(raw) {
			return &Error{Kind: FieldInvalid, Message: notText}
		}
		t.out = appendBase64(t.out, []byte(s))
		return nil
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return errSyntax
	}
	t.out = append(base64.StdEncoding.AppendEncode(append(t.out, '"'), line.Bytes()), '"')
	return nil
}

// text decodes a JSON string.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// faithful says whether every escape of a JSON string stands for a character. Half of a surrogate pair stands for none, and the decoder
// would replace it without a word. The string was decoded before, so its escapes are well formed.
func faithful(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // what is escaped may be a backslash itself, which begins nothing
		first := codeUnit(raw[i:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		i += len("u0000")
		if raw[i] != '\\' || utf16.DecodeRune(first, codeUnit(raw[i+1:])) == utf8.RuneError {
			return false
		}
		i += len("u0000")
	}
	return true
}

// codeUnit returns the code unit of UTF-16 that an escape such as u00e9 stands for; 0 for another escape.
func codeUnit(escape []byte) rune {
	if escape[0] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(escape[1:5]), 16, 16) // four digits, as the decoder has seen
	return rune(n)
}
