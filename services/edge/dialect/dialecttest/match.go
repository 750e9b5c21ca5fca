package dialecttest

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"strings"
)

var placeholder = regexp.MustCompile(`\$[A-Za-z0-9_]+`)

// fill puts in the values of placeholders that are known.
func (p *player) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if v, ok := p.values[name[1:]]; ok {
			return v
		}
		return name
	})
}

// matches says whether what came is what is wanted, and remembers the values of placeholders if it is.
func (p *player) matches(want, got string) bool {
	var w, g any
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal([]byte(got), &g) != nil {
		return p.fill(want) == got
	}
	seen := make(map[string]string)
	if !p.same(w, g, seen) {
		return false
	}
	maps.Copy(p.values, seen)
	return true
}

var kinds = map[string]*regexp.Regexp{
	"hex":   regexp.MustCompile(`^[0-9a-f]{32}$`),
	"token": regexp.MustCompile(`^[A-Za-z0-9.+*#@:>-]{128}$`),
	"uuid":  regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
}

func (p *player) same(want, got any, seen map[string]string) bool {
	switch w := want.(type) {
	case string:
		if name, ok := strings.CutPrefix(w, "$"); ok {
			return p.bind(name, got, seen)
		}
		return p.fill(w) == got
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k, v := range w {
			if other, ok := g[k]; !ok || !p.same(v, other, seen) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i, v := range w {
			if !p.same(v, g[i], seen) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, got)
}

// bind matches a placeholder.
func (p *player) bind(name string, got any, seen map[string]string) bool {
	if name == "_" {
		return true
	}
	text, ok := got.(string)
	if !ok {
		b, err := json.Marshal(got)
		if err != nil {
			return false
		}
		text = string(b)
	}
	if kind, rest, ok := strings.Cut(name, ":"); ok {
		if !kinds[kind].MatchString(text) {
			return false
		}
		name = rest
	}
	for _, known := range []map[string]string{p.values, seen} {
		if v, ok := known[name]; ok {
			return v == text
		}
	}
	seen[name] = text
	return true
}
