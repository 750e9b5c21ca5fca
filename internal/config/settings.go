package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
)

// setting is one leaf of Config.
type setting struct {
	key     string // such as edge.ping_interval
	env     string // such as TRUNKLINE_EDGE_PING_INTERVAL
	typ     reflect.Type
	rules   rules
	doc     string
	example string
	index   []int
}

// value returns the setting in cfg.
func (s setting) value(cfg Config) reflect.Value { return reflect.ValueOf(cfg).FieldByIndex(s.index) }

// settings returns every leaf of Config, in its order.
var settings = sync.OnceValue(func() []setting {
	var all []setting
	walk(reflect.TypeFor[Config](), "", nil, &all)
	return all
})

func walk(t reflect.Type, prefix string, index []int, all *[]setting) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("key")
		if name == "-" {
			continue
		}
		key := join(prefix, name)
		at := append(slices.Clone(index), i)
		if f.Type.Kind() == reflect.Struct {
			walk(f.Type, key, at, all)
			continue
		}
		*all = append(*all, setting{
			key: key, env: envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")),
			typ: f.Type, rules: rulesOf(f), doc: f.Tag.Get("doc"), example: f.Tag.Get("example"), index: at,
		})
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func settingByKey(key string) (setting, bool) {
	for _, s := range settings() {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

func settingByEnv(name string) (setting, bool) {
	for _, s := range settings() {
		if s.env == name {
			return s, true
		}
	}
	return setting{}, false
}

// closest returns the known name that s may have been meant to be, or an empty string.
func closest(s string, known []string) string {
	best, distance := "", max(2, len(s)/3)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(s, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// suggestion is closest as the end of a sentence.
func suggestion(s string, known []string) string {
	if c := closest(s, known); c != "" {
		return "; did you mean \"" + c + "\"?"
	}
	return ""
}
