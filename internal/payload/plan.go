package payload

import (
	"strconv"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// plan is what the codec knows of one message type. It is made once per type and never changes.
type plan struct {
	desc   protoreflect.MessageDescriptor
	fields []field
	byName map[string]*field
	// carries is set when the type or one that it contains has a payload or a map: what JSON spells in another way than protojson.
	carries bool
	// data and contentType are set when the type itself has a payload.
	data, contentType protoreflect.FieldDescriptor
	known             wellKnown
}

type field struct {
	desc protoreflect.FieldDescriptor
	key  string // quoted, with the colon
	mute bool   // never written: JSON says the same in another member
	sub  *plan  // of a message, list of messages or map of messages
}

// wellKnown marks types whose JSON form is not an object of their fields.
type wellKnown int

const (
	ordinary wellKnown = iota
	timestamp
	duration
	special
)

var plans sync.Map // protoreflect.MessageDescriptor to *plan

func planOf(d protoreflect.MessageDescriptor) *plan {
	if p, ok := plans.Load(d); ok {
		return p.(*plan) //nolint:forcetypeassert // only planOf stores
	}
	made := map[protoreflect.MessageDescriptor]*plan{}
	build(d, made)
	for _, p := range made {
		p.carries = reaches(p, map[*plan]bool{})
	}
	for d, p := range made {
		plans.LoadOrStore(d, p)
	}
	return made[d]
}

func build(d protoreflect.MessageDescriptor, made map[protoreflect.MessageDescriptor]*plan) *plan {
	if p, ok := made[d]; ok {
		return p
	}
	p := &plan{desc: d, byName: map[string]*field{}, known: classify(d)}
	made[d] = p
	if p.known != ordinary {
		return p
	}
	list := d.Fields()
	p.fields = make([]field, list.Len())
	for i := range p.fields {
		fd := list.Get(i)
		f := &p.fields[i]
		f.desc, f.key = fd, strconv.Quote(fd.JSONName())+":"
		f.mute = fd.FullName() == "trunkline.errors.v1.Error.error_reason"
		value := fd
		if fd.IsMap() {
			value = fd.MapValue()
		}
		if value.Message() != nil {
			f.sub = build(value.Message(), made)
		}
		p.byName[fd.JSONName()], p.byName[string(fd.Name())] = f, f
	}
	data, contentType := list.ByName("data"), list.ByName("content_type")
	if data != nil && data.Kind() == protoreflect.BytesKind && !data.IsList() &&
		contentType != nil && contentType.Kind() == protoreflect.EnumKind && !contentType.IsList() {
		p.data, p.contentType = data, contentType
	}
	return p
}

func classify(d protoreflect.MessageDescriptor) wellKnown {
	switch {
	case d.FullName() == "google.protobuf.Timestamp":
		return timestamp
	case d.FullName() == "google.protobuf.Duration":
		return duration
	case d.ParentFile().Package() == "google.protobuf":
		return special
	}
	return ordinary
}

func reaches(p *plan, seen map[*plan]bool) bool {
	if p == nil || seen[p] {
		return false
	}
	seen[p] = true
	if p.data != nil {
		return true
	}
	for i := range p.fields {
		if p.fields[i].desc.IsMap() || reaches(p.fields[i].sub, seen) {
			return true
		}
	}
	return false
}

// form is how a payload stands in JSON.
type form int

const (
	formJSON form = iota
	formText
	formBinary
)

// formOf reads the name of the enum's value, so that the codec depends on no generated package.
func formOf(enum protoreflect.EnumDescriptor, n protoreflect.EnumNumber) form {
	v := enum.Values().ByNumber(n)
	if v == nil {
		return formBinary // from a newer writer: bytes are always true
	}
	switch v.Name() {
	case "CONTENT_TYPE_TEXT":
		return formText
	case "CONTENT_TYPE_BINARY":
		return formBinary
	}
	return formJSON
}
