package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
)

// WriteReference writes every setting as Markdown, with its value in c as the default.
func (c Config) WriteReference(w io.Writer) error {
	var b strings.Builder
	section := ""
	for _, s := range c.settings() {
		name, _, nested := strings.Cut(s.key, ".")
		if !nested {
			name = "process"
		}
		if name != section {
			section = name
			fmt.Fprintf(&b, "\n### %s\n\n", section)
		}
		b.WriteString(s.reference(c))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reference is a setting as an item of a list: a line of facts, and what it says.
func (s setting) reference(c Config) string {
	facts := []string{"**`" + s.key + "`**", "`" + s.env + "`"}
	if value := show(s.value(c)); value != "" {
		facts = append(facts, "default `"+value+"`")
	}
	if allowed := s.allowed(); allowed != "" {
		facts = append(facts, allowed)
	}
	says := s.doc
	if s.example != "" {
		says += " Example: `" + s.example + "`."
	}
	return "- " + strings.Join(facts, " · ") + "\\\n" + fill(says)
}

func (s setting) allowed() string {
	switch {
	case len(s.rules.oneof) > 0:
		return strings.Join(s.rules.oneof, ", ")
	case s.rules.min != "" || s.rules.max != "":
		return s.rules.min + " to " + s.rules.max
	}
	return ""
}

// fill breaks text into indented lines that are read without scrolling sideways.
func fill(text string) string {
	const width = 150
	var b strings.Builder
	line := " "
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// show writes a value as a file would; secrets as dots.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Secret:
		return x.String()
	case Size:
		return x.String()
	case time.Duration:
		return duration(x)
	case []string:
		return strings.Join(x, ",")
	case map[string]string:
		items := make([]string, 0, len(x))
		for k, to := range x {
			items = append(items, k+"="+to)
		}
		sort.Strings(items)
		return strings.Join(items, ",")
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = show(v.Index(i))
		}
		return strings.Join(items, ", ")
	case reflect.Map:
		items := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			items = append(items, k.String()+": "+show(v.MapIndex(k)))
		}
		slices.Sort(items)
		return strings.Join(items, ", ")
	case reflect.Struct:
		var items []string
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				items = append(items, v.Type().Field(i).Tag.Get("key")+": "+show(f))
			}
		}
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return show(v.Elem())
	}
	return fmt.Sprint(v.Interface())
}

// duration writes 10m instead of 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Value is one setting of a configuration, for people: a secret is dots.
type Value struct {
	Key    string `json:"key"`
	Env    string `json:"env"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Values returns every setting with where it comes from.
func (l *Loaded) Values() []Value {
	known := l.Config.settings()
	all := make([]Value, 0, len(known))
	for _, s := range known {
		all = append(all, Value{Key: s.key, Env: s.env, Value: show(s.value(l.Config)), Origin: l.Origins[s.key]})
	}
	return all
}

// Variable is one environment variable.
type Variable struct {
	Name    string `json:"name"`
	Key     string `json:"key"`
	Default string `json:"default"`
	Doc     string `json:"doc"`
}

// Variables returns the environment variable of every setting, with its value in c as the default. Each also has one
// with _FILE after its name, which names a file with the value.
func (c Config) Variables() []Variable {
	known := c.settings()
	all := make([]Variable, 0, len(known))
	for _, s := range known {
		all = append(all, Variable{Name: s.env, Key: s.key, Default: show(s.value(c)), Doc: s.doc})
	}
	return all
}
