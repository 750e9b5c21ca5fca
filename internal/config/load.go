package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "TRUNKLINE_"

// Sources is where a configuration comes from, besides the defaults. Later ones win: files in their order,
// then the environment, then flags.
type Sources struct {
	// Files are YAML files.
	Files []string
	// Env is as os.Environ returns it.
	Env []string
	// Flags are settings of the command line.
	Flags []Flag
}

// Flag is one setting of the command line.
type Flag struct {
	// Name is shown in errors, such as --redis.
	Name string
	// Key is the setting, such as redis.url.
	Key string
	// Text is its value as it would stand in a variable.
	Text string
}

// Loaded is a configuration and where each of its values comes from.
type Loaded struct {
	Config Config
	// Origins is by key: default, file:line:column, env NAME or a flag.
	Origins map[string]string
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Where is file:line:column, env NAME, a flag, or empty.
	Where string
	// Text names the key, the value unless it is a secret, and what is allowed.
	Text string
}

// Problems is everything that is wrong with a configuration.
type Problems []Problem

// Error returns one line a problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = withoutCredentials(x.Text)
		if x.Where != "" {
			lines[i] = x.Where + "  " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// About is an error of a part that cannot be built, and the setting that it is about.
type About struct {
	Key string
	Err error
}

// Error names the setting first, which the error may do itself for one of the same section.
func (a *About) Error() string {
	section, _, _ := strings.Cut(a.Key, ".")
	if text := a.Err.Error(); strings.HasPrefix(text, section+".") {
		return text
	}
	return a.Key + ": " + a.Err.Error()
}

// Unwrap returns the error of the part.
func (a *About) Unwrap() error { return a.Err }

// Explain says where the settings stand that errors of building are about. The text of such an error begins with the key of a
// setting; About sees to it where a part does not know its settings. Anything else has no place.
func (l *Loaded) Explain(err error) Problems {
	var all Problems
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			all = append(all, l.Explain(one)...)
		}
		return all
	}
	if known, ok := errors.AsType[Problems](err); ok {
		return known
	}
	text, key := err.Error(), ""
	for k := range l.Origins { // the longest, because one may begin with another
		if len(k) > len(key) && strings.HasPrefix(text, k) {
			key = k
		}
	}
	where := l.Origins[key]
	if where == "default" {
		where = ""
	}
	return append(all, Problem{Where: where, Text: text})
}

// Load reads all sources over the defaults, whose older protocols keep the settings that are theirs, and checks the result. It returns Problems, all of them at once, or a
// configuration that can be run.
func Load(defaults Config, src Sources) (*Loaded, error) {
	l := &loading{defaults: defaults, settings: defaults.settings(), values: layer{}, origins: map[string]string{}}
	for _, s := range l.settings {
		l.origins[s.key] = "default"
	}
	for _, path := range src.Files {
		l.file(path)
	}
	l.environment(src.Env)
	l.flags(src.Flags)
	l.files()
	cfg := l.config()
	if cfg.Dev {
		cfg.keepToLoopback(l.origins)
	}
	cfg.fit(l.origins)
	if len(l.problems) == 0 {
		l.problems = check(cfg, l.origins)
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return &Loaded{Config: cfg, Origins: l.origins}, nil
}

type loading struct {
	defaults Config
	settings settings
	values   layer
	origins  map[string]string
	problems Problems
}

// layer is the values of one source by key, each of the type of its field; a later layer wins.
type layer map[string]any

func (l *loading) add(values layer, origin map[string]string) {
	for _, s := range l.settings {
		_, file := values[s.key]
		_, value := values[s.rules.holds]
		switch {
		case s.rules.holds == "":
		case file && value:
			l.problems = append(l.problems, Problem{Where: origin[s.key], Text: fmt.Sprintf("%q and %q say the same thing", s.rules.holds, s.key)})
		case file: // of the two, the later source wins
			l.unset(s.rules.holds)
		case value:
			l.unset(s.key)
		}
	}
	maps.Copy(l.values, values)
	maps.Copy(l.origins, origin)
}

func (l *loading) unset(key string) {
	delete(l.values, key)
	l.origins[key] = "default"
}

// files reads the values that stay in files which are read again later.
func (l *loading) files() {
	for _, s := range l.settings {
		path, _ := l.values[s.key].(string)
		held, ok := l.settings.byKey(s.rules.holds)
		if !ok || path == "" {
			continue
		}
		where := l.origins[s.key]
		content, err := readValueFile(path)
		if err != nil {
			l.problems = append(l.problems, Problem{Where: where, Text: s.key + ": " + err.Error()})
			continue
		}
		if v, ok := l.text(held, where, content); ok {
			l.values[held.key], l.origins[held.key] = v, where
		}
	}
}

// Reread returns the URL that is in the file now.
func (r Redis) Reread() (string, error) { return readValueFile(r.URLFile) }

// config puts the values over the defaults.
func (l *loading) config() Config {
	cfg := l.defaults
	for _, s := range l.settings {
		if v := reflect.ValueOf(l.values[s.key]); v.IsValid() {
			s.in(&cfg).Set(v)
		}
	}
	return cfg
}

func (l *loading) file(path string) {
	content, err := ReadFile(path)
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		l.problems = append(l.problems, Problem{Where: path, Text: err.Error()})
		return
	}
	if at, why := unreadable(content); why != "" {
		l.problems = append(l.problems, Problem{Where: fmt.Sprintf("%s:%s", path, lineColumn(content, at)), Text: why})
		return
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			l.problems = append(l.problems, yamlProblem(path, err))
		}
		return
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		l.problems = append(l.problems, Problem{Where: fmt.Sprintf("%s:%d", path, second.Line), Text: "has more than one document: the second begins here"})
		return
	}
	values, origins := layer{}, map[string]string{}
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", path, n.Line, n.Column) }
	d := &decoder{settings: l.settings, sections: l.defaults.Legacy.sections(), at: at, problems: &l.problems}
	d.section(reflect.TypeFor[Config](), "", doc.Content[0], func(_ reflect.StructField, key string, n *yaml.Node, v reflect.Value) {
		values[key], origins[key] = v.Interface(), at(n)
	})
	l.add(values, origins)
}

// lineColumn says where a byte of a text is, both from 1.
func lineColumn(content []byte, at int) string {
	before := content[:at]
	return fmt.Sprintf("%d:%d", 1+bytes.Count(before, []byte("\n")), at-bytes.LastIndexByte(before, '\n'))
}

// unreadable finds the first byte of a text that YAML takes in no place, and says why. The library would not say where it is. Text
// in UTF-16, which begins with a mark, is not looked at.
func unreadable(content []byte) (at int, why string) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return 0, ""
	}
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, fmt.Sprintf("the byte %#02x is not UTF-8", content[i])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return i, fmt.Sprintf("the control character %U is not allowed", r)
		}
		i += size
	}
	return 0, ""
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)`)

// unknownAnchor is what the parser says of a value that begins with a star. It quotes the value, which may be a secret.
var unknownAnchor = regexp.MustCompile(`unknown anchor '[^']*' referenced`)

func yamlProblem(path string, err error) Problem {
	if unknownAnchor.MatchString(err.Error()) {
		return Problem{Where: path, Text: "a value begins with * and names no anchor of YAML; put it in quotes"}
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return Problem{Where: path + ":" + m[1], Text: m[2]}
	}
	return Problem{Where: path, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
}

// clientEnv are variables that the other commands read.
var clientEnv = []string{
	"TRUNKLINE_CONFIG", "TRUNKLINE_SERVER", "TRUNKLINE_GRPC", "TRUNKLINE_TOKEN", "TRUNKLINE_TOKEN_FILE",
	"TRUNKLINE_OUTPUT", "TRUNKLINE_TIMEOUT", "TRUNKLINE_NO_COLOR", "TRUNKLINE_CA_FILE", "TRUNKLINE_INTERNAL",
}

// kubernetes matches what it puts into the environment for a service whose name begins with trunkline. No
// setting may have such a name.
var kubernetes = regexp.MustCompile(`^TRUNKLINE_(SERVICE_.*|PORT|PORT_.*|.*_SERVICE_(HOST|PORT.*)|.*_PORT|.*_PORT_.*)$`)

func (l *loading) environment(env []string) {
	values, origins := layer{}, map[string]string{}
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(clientEnv, name) || kubernetes.MatchString(name) {
			continue
		}
		where := "env " + name
		s, ok := l.settings.byEnv(name)
		if base, fromFile := strings.CutSuffix(name, "_FILE"); !ok && fromFile {
			if s, ok = l.settings.byEnv(base); ok {
				content, err := readValueFile(text)
				if err != nil {
					l.problems = append(l.problems, Problem{Where: where, Text: err.Error()})
					continue
				}
				text = content
			}
		}
		if !ok {
			l.problems = append(l.problems, Problem{Where: where, Text: "unknown" + l.meantEnv(name)})
			continue
		}
		if other, twice := origins[s.key]; twice {
			l.problems = append(l.problems, Problem{Where: where, Text: other + " says the same thing"})
			continue
		}
		if v, ok := l.text(s, where, text); ok {
			values[s.key], origins[s.key] = v, where
		}
	}
	l.add(values, origins)
}

func (l *loading) meantEnv(name string) string {
	known := make([]string, 0, len(l.settings))
	for _, s := range l.settings {
		known = append(known, s.env)
	}
	if c := closest(name, known); c != "" {
		return "   did you mean " + c + "?"
	}
	return ""
}

func (l *loading) flags(flags []Flag) {
	values, origins := layer{}, map[string]string{}
	for _, f := range flags {
		s, ok := l.settings.byKey(f.Key)
		if !ok {
			keys := make([]string, 0, len(l.settings))
			for _, s := range l.settings {
				keys = append(keys, s.key)
			}
			l.problems = append(l.problems, Problem{Where: f.Name, Text: fmt.Sprintf("unknown key %q%s", f.Key, suggestion(f.Key, keys))})
			continue
		}
		if v, ok := l.text(s, f.Name, f.Text); ok {
			values[s.key], origins[s.key] = v, f.Name
		}
	}
	l.add(values, origins)
}

// text reads a setting from a variable or flag.
func (l *loading) text(s setting, where, text string) (any, bool) {
	d := &decoder{settings: l.settings, at: func(*yaml.Node) string { return where }, problems: &l.problems}
	v, ok := d.value(s.typ, s.rules, s.key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!text", Value: text})
	if !ok {
		return nil, false
	}
	return v.Interface(), true
}

// Set changes one setting, as a variable or flag would.
func (c *Config) Set(key, text string) error {
	l := &loading{defaults: *c, settings: c.settings(), values: layer{}, origins: map[string]string{}}
	l.flags([]Flag{{Key: key, Text: text}})
	if len(l.problems) > 0 {
		return l.problems
	}
	*c = l.config()
	return nil
}
