package payload

import (
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const notWire = "is not protobuf: its bytes are cut off or of another type"

// UnmarshalWire reads protobuf's binary form into m, which is reset first. Every error is an *Error that names the field where one
// can be named; m is then in an unspecified state.
func UnmarshalWire(b []byte, m proto.Message) error {
	if proto.Unmarshal(b, m) == nil {
		return nil
	}
	d := m.ProtoReflect().Descriptor()
	if list := unread("", b, d); len(list) > 0 {
		kind := FieldInvalid
		if list[len(list)-1].Description == notWire {
			kind = Malformed
		}
		return violations(kind, list)
	}
	return &Error{Kind: Malformed, Message: "the body is not a serialized " + string(d.FullName())}
}

// unread walks over a message that could not be read, and names what stopped it. That is every text that is not UTF-8, and the
// place where the bytes stop being protobuf. It runs only after a failure, so it may be slow.
func unread(path string, b []byte, d protoreflect.MessageDescriptor) []Violation {
	var found []Violation
	seen := map[protowire.Number]int{}
	for len(b) > 0 && len(found) < maxFindings {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return append(found, broken(path)...)
		}
		f := d.Fields().ByNumber(number)
		at := path
		if f != nil {
			at = join(path, string(f.Name()))
			if f.IsList() {
				at += "[" + strconv.Itoa(seen[number]) + "]"
				seen[number]++
			}
		}
		value := b[n:]
		size := protowire.ConsumeFieldValue(number, kind, value)
		if size < 0 {
			return append(found, broken(at)...)
		}
		if f != nil && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(value)
			found = append(found, unreadValue(at, content, f)...)
		}
		b = value[size:]
	}
	return found
}

func unreadValue(at string, content []byte, f protoreflect.FieldDescriptor) []Violation {
	switch {
	case f.Message() != nil:
		return unread(at, content, f.Message()) // an entry of a map is a message, too
	case f.Kind() == protoreflect.StringKind && !utf8.Valid(content):
		return []Violation{{at, "is not UTF-8"}}
	}
	return nil
}

// broken names the place where the bytes end, unless it is the message as a whole.
func broken(at string) []Violation {
	if at == "" {
		return nil
	}
	return []Violation{{at, notWire}}
}
