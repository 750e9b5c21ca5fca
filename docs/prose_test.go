// Package docs_test looks up what the documents name.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// skipped are the folders that hold nothing that prose names.
var skipped = map[string]bool{".git": true, "node_modules": true, "testdata": true, "results": true, "profiles": true}

// walk calls f with every file of the repository that ends in one of the extensions.
func walk(tb testing.TB, f func(path string), extensions ...string) {
	tb.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		if slices.Contains(extensions, filepath.Ext(path)) {
			f(path)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// names are the identifiers of all Go files, outside comments, and those that older parts of a comment may cite from elsewhere.
func names(tb testing.TB) map[string]bool {
	tb.Helper()
	all := map[string]bool{}
	set := token.NewFileSet()
	walk(tb, func(path string) {
		parsed, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			tb.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				all[n.Name] = true
			case *ast.BasicLit:
				for word := range strings.FieldsFuncSeq(n.Value, notOfAName) {
					all[word] = true
				}
			}
			return true
		})
	}, ".go")
	walk(tb, func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for word := range strings.FieldsFuncSeq(string(b), notOfAName) {
			all[word] = true
		}
	}, ".proto", ".lua", ".js", ".mod")
	return all
}

func notOfAName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// foreign are names of other people's software and standards that comments cite.
var foreign = map[string]bool{
	"JavaScript": true, "TypeScript": true, "OpenAPI": true, "WebSocket": true, "WebSockets": true, "GitHub": true, "MiB": true, "KiB": true, "GiB": true,
	"OpenTelemetry": true, "BuildKit": true, "ProtoJSON": true, "lowerCamelCase": true, "PostgreSQL": true, "RabbitMQ": true, "EdDSA": true, "McCabe": true,
}

// compound is a word that can only be a name of the code: two humps, as in ErrAddressInvalid or parseScalar.
var compound = regexp.MustCompile(`\b(?:[A-Z][a-z0-9]+[A-Z]|[a-z]+[A-Z][a-z])[A-Za-z0-9]*\b`)

// What a comment names exists: a name that was changed is changed in the comments, too.
func TestComments_nameWhatExists(t *testing.T) {
	all := names(t)
	set := token.NewFileSet()
	missing := map[string]string{}
	walk(t, func(path string) {
		if strings.Contains(path, "/gen/") {
			return
		}
		parsed, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range parsed.Comments {
			for _, word := range compound.FindAllString(group.Text(), -1) {
				if !all[word] && !all[strings.TrimSuffix(word, "s")] && !foreign[word] {
					missing[word] = set.Position(group.Pos()).String()
				}
			}
		}
	}, ".go")
	for _, word := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s: a comment names %s, which does not exist", missing[word], word)
	}
}

var (
	quoted  = regexp.MustCompile("`([^`\n]+)`")
	setting = regexp.MustCompile(`^[a-z_]+(?:\.[a-z_]+)+$`)
	aFile   = regexp.MustCompile(`^(?:internal|services|gateway|cmd|client|proto|deploy|web|bench|faults|docs|legacy)/[A-Za-z0-9_./-]+$`)
)

// settings are the keys that docs/configuration.md lists, which a test of its own compares with the code, and their sections.
func settings(tb testing.TB) map[string]bool {
	tb.Helper()
	b, err := os.ReadFile("configuration.md")
	if err != nil {
		tb.Fatal(err)
	}
	keys := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^- \\*\\*`([a-z_.A-Z]+)`").FindAllStringSubmatch(string(b), -1) {
		key := m[1]
		for key != "" {
			keys[key] = true
			key, _, _ = cutLast(key)
		}
	}
	if len(keys) < 50 {
		tb.Fatalf("configuration.md lists %d settings; has its list another form?", len(keys))
	}
	return keys
}

func cutLast(key string) (before, after string, found bool) {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i], key[i+1:], true
	}
	return "", "", false
}

// known says whether a key is listed, by itself or as one of a namespace whose name is free.
func known(keys map[string]bool, key string) bool {
	if keys[key] {
		return true
	}
	rest, ok := strings.CutPrefix(key, "channels.namespaces.")
	_, field, more := strings.Cut(rest, ".")
	return ok && (!more || keys["channels.defaults."+field])
}

// Settings and files that a document names in code quotes exist.
func TestDocuments_nameWhatExists(t *testing.T) {
	keys := settings(t)
	sections := map[string]bool{}
	for key := range keys {
		section, _, _ := strings.Cut(key, ".")
		sections[section] = true
	}
	for _, path := range documents(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(b), -1) {
			word := m[1]
			section, _, _ := strings.Cut(word, ".")
			if setting.MatchString(word) && sections[section] && !known(keys, word) {
				t.Errorf("%s names the setting %s, which does not exist", path, word)
			}
			if aFile.MatchString(word) && !strings.HasSuffix(word, ".new") {
				if _, err := os.Stat(filepath.Join("..", word)); err != nil {
					t.Errorf("%s names the file %s, which does not exist", path, word)
				}
			}
		}
	}
}

// place is a row of a table that sends its reader to a name in a file.
var place = regexp.MustCompile("(?m)^\\|[^|]*\\| `([^`]+\\.(?:go|lua|proto))`[^|]*\\| `([^`]+)` \\|$")

// A reader who is sent to a name finds it in that file.
func TestDocuments_leadToWhatIsThere(t *testing.T) {
	found := 0
	for _, path := range documents(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range place.FindAllStringSubmatch(string(b), -1) {
			found++
			source, err := os.ReadFile(filepath.Join("..", m[1]))
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if !regexp.MustCompile(`\b` + regexp.QuoteMeta(m[2]) + `\b`).Match(source) {
				t.Errorf("%s: %s has no %s", path, m[1], m[2])
			}
		}
	}
	if found < 15 {
		t.Errorf("%d rows lead to a name; have the tables another form?", found)
	}
}
