package relay

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/rest"
)

// The extended form of the original: a[b]=c is an object, a[]=b and a repeated name are lists.
const (
	maxFormPairs = 1000
	maxFormDepth = 5
	maxFormIndex = 20
)

// branch is one name of a form: what was given for it directly, and below it.
type branch struct {
	values []string
	names  []string
	below  map[string]*branch
}

func (b *branch) child(name string) *branch {
	if c, ok := b.below[name]; ok {
		return c
	}
	if b.below == nil {
		b.below = map[string]*branch{}
	}
	c := &branch{}
	b.below[name], b.names = c, append(b.names, name)
	return c
}

// formJSON returns a form as JSON.
func formJSON(body string) ([]byte, error) {
	root := &branch{}
	pairs := strings.Split(body, "&")
	if len(pairs) > maxFormPairs {
		return nil, rest.Refuse("MESSAGE_TOO_LARGE", "the form has more than 1000 fields", nil).At(http.StatusRequestEntityTooLarge)
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		key = unescapeForm(key)
		if key == "" {
			continue
		}
		at := root
		for _, name := range formPath(key) {
			at = at.child(name)
		}
		at.values = append(at.values, unescapeForm(value))
	}
	if len(root.names) == 0 {
		return []byte("{}"), nil
	}
	return json.Marshal(root.object())
}

// unescapeForm leaves what is not well encoded as it is.
func unescapeForm(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return strings.ToValidUTF8(u, "\ufffd")
	}
	return strings.ReplaceAll(s, "+", " ")
}

// formPath splits a[b][c] into its names; what is deeper than the limit stays one name.
func formPath(key string) []string {
	head, rest, found := strings.Cut(key, "[")
	if !found || !strings.Contains(rest, "]") {
		return []string{key}
	}
	var names []string
	if head != "" {
		names = append(names, head)
	}
	rest = "[" + rest
	for strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 || len(names) > maxFormDepth {
			return append(names, rest)
		}
		names, rest = append(names, rest[1:end]), rest[end+1:]
	}
	return names
}

func (b *branch) value() any {
	var list []any
	for _, v := range b.values {
		list = append(list, v)
	}
	if len(b.names) == 0 {
		if len(list) == 1 {
			return list[0]
		}
		return list
	}
	if b.indexed() {
		for _, name := range b.names {
			c := b.below[name]
			if v, ok := c.value().([]any); ok && name == "" {
				list = append(list, v...) // a[]=1&a[]=2
			} else {
				list = append(list, c.value())
			}
		}
		return list
	}
	if len(list) > 0 {
		return append(list, b.object())
	}
	return b.object()
}

func (b *branch) object() map[string]any {
	o := make(map[string]any, len(b.names))
	for _, name := range b.names {
		o[name] = b.below[name].value()
	}
	return o
}

// indexed says whether the names belong to a list: empty, or small numbers.
func (b *branch) indexed() bool {
	for _, name := range b.names {
		n, err := strconv.Atoi(name)
		if name != "" && (err != nil || n < 0 || n > maxFormIndex || strconv.Itoa(n) != name) {
			return false
		}
	}
	return true
}
