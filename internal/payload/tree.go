package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// node is a JSON value that still has its duplicate members.
type node struct {
	kind    kind
	text    string // of a string or number
	members []member
	items   []node
}

type member struct {
	name  string
	value node
}

type kind int

const (
	isNull kind = iota
	isBool
	isNumber
	isString
	isList
	isObject
)

// parse reads one JSON value with nothing behind it.
func parse(b []byte) (node, *Error) {
	var whole json.RawMessage
	if err := json.Unmarshal(b, &whole); err != nil {
		return node{}, syntax(b, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	n, err := next(d)
	if err != nil {
		return node{}, syntax(b, err)
	}
	return n, nil
}

func syntax(b []byte, err error) *Error {
	if deep, ok := errors.AsType[*Error](err); ok {
		return deep
	}
	var at *json.SyntaxError
	if !errors.As(err, &at) || at.Offset < 1 || at.Offset > int64(len(b)) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errSyntax
	}
	if at.Offset == int64(len(b)) && incomplete(b) {
		return &Error{Kind: InvalidJSON, Message: "the body is not JSON: it ends too early"}
	}
	return &Error{Kind: InvalidJSON, Message: fmt.Sprintf("the body is not JSON: byte %d is %q, which cannot stand there",
		at.Offset, rune(b[at.Offset-1]))}
}

// incomplete says whether b is the beginning of JSON.
func incomplete(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	var whole json.RawMessage
	return errors.Is(d.Decode(&whole), io.ErrUnexpectedEOF)
}

// next reads a value. It nests no deeper than encoding/json lets it.
func next(d *json.Decoder) (node, error) {
	token, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch v := token.(type) {
	case bool:
		return node{kind: isBool}, nil
	case json.Number:
		return node{kind: isNumber, text: v.String()}, nil
	case string:
		return node{kind: isString, text: v}, nil
	case json.Delim:
		return nested(d, v)
	}
	return node{kind: isNull}, nil
}

func nested(d *json.Decoder, open json.Delim) (node, error) {
	n := node{kind: isList}
	if open == '{' {
		n.kind = isObject
	}
	for d.More() {
		var name string
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return n, err
			}
			name, _ = key.(string)
		}
		value, err := next(d)
		if err != nil {
			return n, err
		}
		if open == '{' {
			n.members = append(n.members, member{name, value})
		} else {
			n.items = append(n.items, value)
		}
	}
	_, err := d.Token()
	return n, err
}
