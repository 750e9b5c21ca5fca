package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// setting is one leaf of Config, or of the settings of an older protocol.
type setting struct {
	key     string // such as edge.ping_interval
	env     string // such as TRUNKLINE_EDGE_PING_INTERVAL
	typ     reflect.Type
	rules   rules
	doc     string
	example string
	index   []int
	section any // points to the settings of an older protocol; nil for those of Config itself
}

// in returns the setting in cfg, which can be set.
func (s setting) in(cfg *Config) reflect.Value {
	if s.section != nil {
		return reflect.ValueOf(s.section).Elem().FieldByIndex(s.index)
	}
	return reflect.ValueOf(cfg).Elem().FieldByIndex(s.index)
}

// value returns the setting in cfg.
func (s setting) value(cfg Config) reflect.Value { return s.in(&cfg) }

// settings is every setting that there is, in the order in which they are documented.
type settings []setting

// settings returns every leaf of Config, and then those of the older protocols that it brings.
func (c Config) settings() settings {
	var all settings
	all.walk(reflect.TypeFor[Config](), setting{})
	for _, section := range c.Legacy.sections() {
		all.walk(reflect.TypeOf(section.Settings).Elem(), setting{key: section.Key, section: section.Settings})
	}
	for i, s := range all {
		if s.rules.kind == "protocol" {
			all[i].rules.oneof = c.Legacy.Names()
		}
	}
	return all
}

// sections returns the sections of the older protocols by their whole keys.
func (l Legacy) sections() []Section {
	var all []Section
	for _, p := range l.Protocols {
		for _, s := range p.Sections() {
			s.Key = join("legacy", s.Key)
			all = append(all, s)
		}
	}
	return all
}

// walk adds the leaves of a struct that stands in from.
func (all *settings) walk(t reflect.Type, from setting) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("key")
		if name == "-" {
			continue
		}
		s := from
		s.key, s.index = join(from.key, name), append(slices.Clone(from.index), i)
		if f.Type.Kind() == reflect.Struct {
			all.walk(f.Type, s)
			continue
		}
		s.env = envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
		s.typ, s.rules, s.doc, s.example = f.Type, rulesOf(f), f.Tag.Get("doc"), f.Tag.Get("example")
		*all = append(*all, s)
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func (all settings) byKey(key string) (setting, bool) {
	for _, s := range all {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

func (all settings) byEnv(name string) (setting, bool) {
	for _, s := range all {
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
