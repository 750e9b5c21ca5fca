// Package payload is the JSON form of the contract. It is protobuf's JSON mapping with one difference. Where a message has the
// fields data and content_type, the member data is the value itself. That is any JSON value when the content type is JSON, a
// string when it is TEXT, and a base64 string when it is BINARY. REST and the WebSocket both speak it.
package payload

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxDepth is how deeply a request may nest, outside of payloads.
const maxDepth = 100

var unmarshal = protojson.UnmarshalOptions{RecursionLimit: maxDepth}

// Encoder writes messages as JSON. The zero value leaves out every field that has its default.
// An Encoder is a value and safe for concurrent use.
type Encoder struct {
	// EmitDefaults also writes empty lists, zeros and false, so that a caller finds the member it
	// looks for. Empty strings, bytes, maps and messages stay out.
	EmitDefaults bool
}

// Marshal returns m as one line of JSON without defaults. See Encoder.Append.
func Marshal(m proto.Message) ([]byte, error) { return Encoder{}.Append(nil, m) }

// Append appends m as one line of JSON without defaults. See Encoder.Append.
func Append(b []byte, m proto.Message) ([]byte, error) { return Encoder{}.Append(b, m) }

// Append appends m to b as JSON without insignificant space around members, so that the result is
// the same everywhere and holds no line break. JSON payloads are embedded as they are; the publish
// service has checked them. It fails only for a time or duration outside of the range of its type.
func (e Encoder) Append(b []byte, m proto.Message) ([]byte, error) {
	r := m.ProtoReflect()
	return planOf(r.Descriptor()).append(b, r, e)
}

// Unmarshal reads one JSON object into m, which is reset first. Names are accepted in lowerCamelCase
// and as the contract spells them. Every error is an *Error; m is then in an unspecified state.
func Unmarshal(b []byte, m proto.Message) error {
	if !utf8.Valid(b) {
		return &Error{Kind: InvalidJSON, Message: "the body is not UTF-8"}
	}
	switch body := bytes.TrimLeft(b, " \t\r\n"); {
	case len(body) == 0:
		return &Error{Kind: InvalidJSON, Message: "the body is empty; send a JSON object"}
	case body[0] != '{':
		return &Error{Kind: InvalidJSON, Message: "the body is not a JSON object; it must begin with {"}
	}
	p := planOf(m.ProtoReflect().Descriptor())
	plain := b
	if p.carries {
		t := rewriter{in: b, out: make([]byte, 0, len(b)+len(b)/2+16)}
		if err := t.document(p); err != nil {
			return explain(b, p, err)
		}
		plain = t.out
	}
	if err := unmarshal.Unmarshal(plain, m); err != nil {
		return explain(b, p, err)
	}
	return nil
}

// explain turns a failure into an *Error. What the walk over the contract finds is told first,
// because it names every field; the failure itself is told when the walk finds nothing.
func explain(b []byte, p *plan, failure error) error {
	if errors.Is(failure, errDepth) {
		return errDepth
	}
	if e := diagnose(b, p.desc); e != nil {
		return e
	}
	if e, ok := errors.AsType[*Error](failure); ok {
		return e
	}
	return &Error{Kind: FieldInvalid, Message: "the body does not fit the request"}
}
