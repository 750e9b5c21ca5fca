package payload

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	notBinary = "data must be a base64 string when contentType is CONTENT_TYPE_BINARY"
	notText   = "data must be a string of valid Unicode when contentType is CONTENT_TYPE_TEXT"
)

// diagnose finds out what is wrong with a body that could not be read. It runs only then, so it
// may be slow and thorough: it names every wrong member. It returns nil when it finds nothing.
func diagnose(b []byte, d protoreflect.MessageDescriptor) *Error {
	n, err := parse(b)
	if err != nil {
		return err
	}
	var f findings
	f.object("", n, d)
	switch {
	case len(f.unknown) > 0:
		return violations(UnknownField, f.unknown)
	case len(f.invalid) > 0:
		return violations(FieldInvalid, f.invalid)
	case len(f.suspect) > 0:
		return violations(FieldInvalid, f.suspect)
	}
	return nil
}

// findings are what is wrong. Suspect is told only when nothing else is found. U+FFFD may have been sent, or may be what the
// reader made of half a surrogate pair.
type findings struct{ unknown, invalid, suspect []Violation }

const maxFindings = 20

func (f *findings) add(path, format string, args ...any) {
	if len(f.invalid) < maxFindings {
		f.invalid = append(f.invalid, Violation{path, fmt.Sprintf(format, args...)})
	}
}

func (f *findings) object(path string, n node, d protoreflect.MessageDescriptor) {
	if n.kind != isObject {
		f.add(path, "must be an object")
		return
	}
	p := planOf(d)
	seen := map[protoreflect.FullName]string{}
	for _, m := range n.members {
		at := join(path, m.name)
		known := p.byName[m.name]
		if known == nil {
			if len(f.unknown) < maxFindings {
				f.unknown = append(f.unknown, Violation{at, "is not a field of this request"})
			}
			continue
		}
		if _, twice := seen[known.desc.FullName()]; twice {
			f.add(at, "stands there twice")
			continue
		}
		seen[known.desc.FullName()] = m.name
		if one := known.desc.ContainingOneof(); one != nil && !one.IsSynthetic() && m.value.kind != isNull {
			if other, twice := seen[one.FullName()]; twice {
				f.add(at, "cannot stand together with %s", other)
			}
			seen[one.FullName()] = m.name
		}
		if known.desc == p.data {
			f.data(at, m.value, n, p)
			continue
		}
		f.value(at, m.value, known.desc)
	}
}

func join(path, name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func (f *findings) data(at string, v, parent node, p *plan) {
	kind := formJSON
	for _, m := range parent.members {
		known := p.byName[m.name]
		if known == nil || known.desc != p.contentType {
			continue
		}
		raw := []byte(m.value.text)
		if m.value.kind == isString {
			raw = []byte(strconv.Quote(m.value.text))
		}
		kind = formFrom(p.contentType.Enum(), raw)
	}
	switch {
	case kind == formText && (v.kind != isString || strings.Contains(v.text, "\ufffd")):
		f.add(at, "%s", strings.TrimPrefix(notText, "data "))
	case kind == formBinary && (v.kind != isString || !isBase64(v.text)):
		f.add(at, "%s", strings.TrimPrefix(notBinary, "data "))
	}
}

func (f *findings) value(at string, v node, d protoreflect.FieldDescriptor) {
	switch {
	case v.kind == isNull:
	case d.IsList():
		if v.kind != isList {
			f.add(at, "must be a list")
			return
		}
		for i, item := range v.items {
			f.single(at+"["+strconv.Itoa(i)+"]", item, d)
		}
	case d.IsMap():
		if v.kind == isList && len(v.items) == 0 {
			return // as PHP spells an empty map
		}
		if v.kind != isObject {
			f.add(at, "must be an object")
			return
		}
		seen := map[string]bool{}
		for _, m := range v.members {
			if seen[m.name] {
				f.add(join(at, m.name), "stands there twice")
			}
			seen[m.name] = true
			f.single(join(at, m.name), m.value, d.MapValue())
		}
	default:
		f.single(at, v, d)
	}
}

func (f *findings) single(at string, v node, d protoreflect.FieldDescriptor) {
	if d.Message() != nil {
		f.message(at, v, d.Message())
		return
	}
	if fault := scalar(v, d); fault != "" {
		f.add(at, "%s", fault)
	} else if v.kind == isString && strings.Contains(v.text, "\ufffd") && len(f.suspect) < maxFindings {
		f.suspect = append(f.suspect, Violation{at, "must be a string of valid Unicode"})
	}
}

func (f *findings) message(at string, v node, d protoreflect.MessageDescriptor) {
	switch classify(d) {
	case timestamp:
		if v.kind != isString || !isTimestamp(v.text) {
			f.add(at, `must be a time such as "2026-11-20T13:01:12Z"`)
		}
	case duration:
		if v.kind != isString || !isDuration(v.text) {
			f.add(at, `must be a duration in seconds such as "1.5s"`)
		}
	case ordinary:
		f.object(at, v, d)
	}
}
