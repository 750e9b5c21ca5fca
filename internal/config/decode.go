package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder reads YAML into values and notes every problem with its place.
type decoder struct {
	settings settings
	sections []Section // of older protocols
	// at says where a node stands: file:line:column, or the name of a variable.
	at       func(n *yaml.Node) string
	problems *Problems
}

func (d *decoder) problem(n *yaml.Node, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key != "" {
		text = key + ": " + text
	}
	*d.problems = append(*d.problems, Problem{Where: d.at(n), Text: text})
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// pairs calls visit for every key of a mapping, once.
func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "is a mapping of keys to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			d.problem(key, "", "key %q twice", join(path, key.Value))
			continue
		}
		seen[key.Value] = true
		visit(key, n.Content[i+1])
	}
}

// section reads a mapping whose keys are named by a struct; leaf gets each that is there.
func (d *decoder) section(t reflect.Type, path string, n *yaml.Node, leaf func(f reflect.StructField, key string, n *yaml.Node, v reflect.Value)) {
	fields, names := d.fields(t, path)
	set := map[string]string{}
	d.pairs(n, path, func(key, value *yaml.Node) {
		name, full := key.Value, join(path, key.Value)
		f, ok := fields[name]
		base, fromFile := strings.CutSuffix(name, "_file")
		if !ok && fromFile {
			f, ok = fields[base]
			name = base
			fromFile = ok && f.Type.Kind() != reflect.Struct
			ok = fromFile
		} else {
			fromFile = false
		}
		if !ok {
			hint := ""
			if c := closest(full, names); c != "" {
				hint = fmt.Sprintf("   did you mean %q?", c)
			}
			d.problem(key, "", "unknown key %q%s", full, hint)
			return
		}
		if other, twice := set[name]; twice {
			d.problem(key, "", "%q and %q say the same thing", join(path, other), full)
			return
		}
		set[name] = key.Value
		if f.Type.Kind() == reflect.Struct {
			d.section(f.Type, full, value, func(inner reflect.StructField, key string, n *yaml.Node, v reflect.Value) {
				inner.Index = slices.Concat(f.Index, inner.Index) // from where leaf stands
				leaf(inner, key, n, v)
			})
			return
		}
		if fromFile {
			value = d.file(value, full)
			if value == nil {
				return
			}
		}
		if v, ok := d.value(f.Type, d.rules(f, join(path, name)), join(path, name), value); ok {
			leaf(f, join(path, name), key, v)
		}
	})
}

// fields returns what a mapping may have: the fields of a struct and, where sections of older protocols stand, these too.
func (d *decoder) fields(t reflect.Type, path string) (fields map[string]reflect.StructField, names []string) {
	fields = make(map[string]reflect.StructField)
	add := func(name string, f reflect.StructField) {
		fields[name] = f
		names = append(names, join(path, name))
	}
	for field := range t.Fields() {
		if name := field.Tag.Get("key"); name != "-" {
			add(name, field)
		}
	}
	for _, s := range d.sections {
		if name, ok := strings.CutPrefix(s.Key, path+"."); ok {
			add(name, reflect.StructField{Type: reflect.TypeOf(s.Settings).Elem()})
		}
	}
	return fields, names
}

// rules returns those of a setting, or of a field of one.
func (d *decoder) rules(f reflect.StructField, key string) rules {
	if s, ok := d.settings.byKey(key); ok {
		return s.rules
	}
	return rulesOf(f)
}

// file returns a node with the content of the file that n names.
func (d *decoder) file(n *yaml.Node, key string) *yaml.Node {
	content, err := readValueFile(resolve(n).Value)
	if err != nil {
		d.problem(n, key, "%v", err)
		return nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!text", Value: content, Line: n.Line, Column: n.Column}
}

// readValueFile returns what a file of one value says, without the line's end.
func readValueFile(path string) (string, error) {
	content, err := ReadFile(path)
	return strings.TrimRight(string(content), "\r\n"), err
}

// maxFile is the largest file that is read.
const maxFile = 1 << 20

// ReadFile reads a file that a setting names, unless it is too large to be one. A pipe or a device says no size.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", path, info.Size(), maxFile)
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes, which is the limit", path, maxFile)
	}
	return content, err
}

// value reads one value. Text from a file or a variable may be YAML where more than a scalar is wanted.
func (d *decoder) value(t reflect.Type, r rules, key string, n *yaml.Node) (reflect.Value, bool) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!text" {
		return d.text(t, r, key, n)
	}
	before := len(*d.problems)
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		e, ok := d.value(t.Elem(), r, key, n)
		if !ok {
			return v, false
		}
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(e)
	case reflect.Slice:
		if n.Kind == yaml.ScalarNode {
			if t.Elem().Kind() == reflect.Struct && n.Tag != "!!null" {
				d.problem(n, key, "is a list")
				return v, false
			}
			return d.list(t, r, key, n)
		}
		if n.Kind != yaml.SequenceNode {
			d.problem(n, key, "is a list")
			return v, false
		}
		v.Set(reflect.MakeSlice(t, 0, len(n.Content)))
		for i, item := range n.Content {
			if e, ok := d.value(t.Elem(), r, fmt.Sprintf("%s[%d]", key, i), item); ok {
				v.Set(reflect.Append(v, e))
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		d.pairs(n, key, func(name, value *yaml.Node) {
			if e, ok := d.value(t.Elem(), r, join(key, name.Value), value); ok {
				v.SetMapIndex(reflect.ValueOf(name.Value), e)
			}
		})
	case reflect.Struct:
		d.section(t, key, n, func(f reflect.StructField, _ string, _ *yaml.Node, e reflect.Value) {
			v.FieldByIndex(f.Index).Set(e)
		})
	default:
		if n.Kind != yaml.ScalarNode {
			d.problem(n, key, "is a %s, not a %s", typeName(t), map[yaml.Kind]string{yaml.SequenceNode: "list", yaml.MappingNode: "mapping"}[n.Kind])
			return v, false
		}
		e, err := parseScalar(t, r, n.Value)
		if err != nil {
			d.problem(n, key, "%v", err)
			return v, false
		}
		return e, true
	}
	return v, len(*d.problems) == before
}

// text reads a value from a variable, a flag or a file of one value.
func (d *decoder) text(t reflect.Type, r rules, key string, n *yaml.Node) (reflect.Value, bool) {
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String && !strings.HasPrefix(strings.TrimSpace(n.Value), "["):
		return d.list(t, r, key, n)
	case t == reflect.TypeFor[map[string]string]() && !strings.HasPrefix(strings.TrimSpace(n.Value), "{"):
		return d.assignments(t, r, key, n)
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Map:
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(n.Value), &doc); err != nil {
			d.problem(n, key, "is not YAML") // the error might quote a secret
			return reflect.Value{}, false
		}
		if len(doc.Content) == 0 {
			return reflect.Zero(t), true
		}
		return d.value(t, r, key, doc.Content[0])
	}
	plain := *n
	plain.Tag = "!!str"
	return d.value(t, r, key, &plain)
}

// list reads a comma separated list.
func (d *decoder) list(t reflect.Type, r rules, key string, n *yaml.Node) (reflect.Value, bool) {
	v := reflect.MakeSlice(t, 0, 4)
	if n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		return v, true
	}
	ok := true
	for item := range strings.SplitSeq(n.Value, ",") {
		e, err := parseScalar(t.Elem(), r, strings.TrimSpace(item))
		if err != nil {
			d.problem(n, key, "%v", err)
			ok = false
			continue
		}
		v = reflect.Append(v, e)
	}
	return v, ok
}

// assignments reads name=value,name=value; a value alone is for every name that is not given (*).
func (d *decoder) assignments(t reflect.Type, r rules, key string, n *yaml.Node) (reflect.Value, bool) {
	v := reflect.MakeMap(t)
	ok := true
	for item := range strings.SplitSeq(n.Value, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, text, named := strings.Cut(item, "=")
		if !named {
			name, text = "*", item
		}
		e, err := parseScalar(t.Elem(), r, text)
		if err != nil {
			d.problem(n, key, "%v", err)
			ok = false
			continue
		}
		v.SetMapIndex(reflect.ValueOf(name), e)
	}
	return v, ok
}
