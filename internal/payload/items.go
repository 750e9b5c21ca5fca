package payload

import (
	"bytes"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// UnmarshalItems is Unmarshal for a request with a list whose items are answered each on its own. An item that cannot be read is
// empty in m, and stands in faults by its place. What is wrong outside of the items fails as a whole.
func UnmarshalItems(b []byte, m proto.Message, list protoreflect.Name) (faults map[int]*Error, err error) {
	failure := Unmarshal(b, m)
	if failure == nil {
		return nil, nil
	}
	f := m.ProtoReflect().Descriptor().Fields().ByName(list)
	if f == nil || !json.Valid(b) {
		return nil, failure
	}
	whole, ok := itemsOf(b, f)
	if !ok || Unmarshal(whole.emptied(b, f), m) != nil {
		return nil, failure
	}
	faults = make(map[int]*Error)
	items := m.ProtoReflect().Mutable(f).List()
	for i, raw := range whole.items {
		value, err := item(raw, f, items)
		if fault, ok := errors.AsType[*Error](err); ok {
			faults[i] = fault
			continue
		}
		items.Set(i, value)
	}
	return faults, nil
}

// item reads one item of a list of messages or texts.
func item(raw []byte, f protoreflect.FieldDescriptor, of protoreflect.List) (protoreflect.Value, error) {
	if f.Message() != nil {
		if raw[0] != '{' {
			return protoreflect.Value{}, &Error{Kind: FieldInvalid, Message: "must be an object"}
		}
		value := of.NewElement()
		return value, Unmarshal(raw, value.Message().Interface())
	}
	s, ok := text(raw)
	if !ok || !faithful(raw) {
		return protoreflect.Value{}, &Error{Kind: FieldInvalid, Message: "must be a string of valid Unicode"}
	}
	return protoreflect.ValueOfString(s), nil
}

// span is a list in a document: its items, and where it begins and ends.
type span struct {
	items      []json.RawMessage
	start, end int64
}

// emptied returns the document with an empty item in place of each.
func (s span) emptied(b []byte, f protoreflect.FieldDescriptor) []byte {
	empty := []byte(`""`)
	if f.Message() != nil {
		empty = []byte(`{}`)
	}
	out := append(append(make([]byte, 0, len(b)), b[:s.start]...), '[')
	for i := range s.items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, empty...)
	}
	return append(append(out, ']'), b[s.end:]...)
}

// itemsOf finds the list of a field in an object. A list that stands there twice is found by Unmarshal: only one is emptied.
func itemsOf(b []byte, f protoreflect.FieldDescriptor) (found span, ok bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return span{}, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return span{}, false
		}
		if name != f.JSONName() && name != string(f.Name()) {
			var other json.RawMessage
			if d.Decode(&other) != nil {
				return span{}, false
			}
			continue
		}
		var all json.RawMessage
		if d.Decode(&all) != nil || json.Unmarshal(all, &found.items) != nil || all[0] != '[' {
			return span{}, false
		}
		found.end = d.InputOffset()
		found.start, ok = found.end-int64(len(all)), true
	}
	return found, ok
}
