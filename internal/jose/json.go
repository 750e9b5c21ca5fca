package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Object is a JSON object whose members are known by their exact names. A value is an Object, a []any, a string, a json.Number, a
// bool or nil.
type Object map[string]any

// maxDepth is how deep objects and lists may be in one another.
const maxDepth = 32

// DecodeObject reads one JSON object. What two readers could take for two things is refused at any depth. That is a member that is
// there twice, bytes that are no UTF-8, half a surrogate pair, and anything behind the object. Names are compared byte for byte.
func DecodeObject(text []byte) (Object, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if err := wholeSurrogates(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := decode(d, "", maxDepth)
	if err != nil {
		return nil, err
	}
	o, ok := value.(Object)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the JSON object")
	}
	return o, nil
}

// decode reads the next value. The path names it in an error.
func decode(d *json.Decoder, path string, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("not JSON")
	}
	switch t {
	case json.Delim('{'):
		return decodeMembers(d, path, depth-1)
	case json.Delim('['):
		return decodeList(d, path, depth-1)
	}
	return t, nil
}

func decodeMembers(d *json.Decoder, path string, depth int) (any, error) {
	if depth == 0 {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	o := Object{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("not JSON")
		}
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("the member %.100q is there twice", path+name)
		}
		value, err := decode(d, path+name+".", depth)
		if err != nil {
			return nil, err
		}
		o[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not JSON")
	}
	return o, nil
}

func decodeList(d *json.Decoder, path string, depth int) (any, error) {
	if depth == 0 {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	list := []any{}
	for d.More() {
		value, err := decode(d, path, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not JSON")
	}
	return list, nil
}

// wholeSurrogates refuses the escape of half a character: the decoder would put the same sign in place of each of them.
func wholeSurrogates(text []byte) error {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		switch c := hex4(text[i+1:]); {
		case c < 0xD800 || c > 0xDFFF:
		case c < 0xDC00 && bytes.HasPrefix(text[min(i+5, len(text)):], []byte(`\u`)) && low(hex4(text[i+7:])):
			i += 10
		default:
			return fmt.Errorf("half a surrogate pair at byte %d", i-1)
		}
	}
	return nil
}

func low(c int64) bool { return c >= 0xDC00 && c <= 0xDFFF }

// hex4 returns the number of four hexadecimal digits, or -1.
func hex4(text []byte) int64 {
	if len(text) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(string(text[:4]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(n)
}

// Text returns a member that is a string; false when it is missing or something else.
func (o Object) Text(name string) (string, bool) {
	s, ok := o[name].(string)
	return s, ok
}

// Folded returns a member whose name is another spelling of one of the given names, such as "Sub" for "sub". Some readers take the
// one for the other.
func (o Object) Folded(names ...string) (string, bool) {
	for name := range o {
		for _, known := range names {
			if name != known && strings.EqualFold(name, known) {
				return name, true
			}
		}
	}
	return "", false
}

// Lookup finds a value by a name as settings write it. That is the name of a member, or several of members in one another, with dots
// between them. A dot may be part of a name, so realm_access.roles, cognito:groups and https://example.com/groups all work. It returns an
// error when the name can be read in two ways here.
func (o Object) Lookup(name string) (value any, found bool, err error) {
	all := o.all(name, nil)
	switch len(all) {
	case 0:
		return nil, false, nil
	case 1:
		return all[0], true, nil
	}
	return nil, false, fmt.Errorf("the name %q can be read in %d ways", name, len(all))
}

// all appends every value that the name may mean.
func (o Object) all(name string, found []any) []any {
	if value, ok := o[name]; ok {
		found = append(found, value)
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if inner, ok := o[name[:i]].(Object); ok {
			found = inner.all(name[i+1:], found)
		}
	}
	return found
}
