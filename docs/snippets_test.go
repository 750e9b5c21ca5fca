package docs_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// others are what YAML of a page may be when it is no configuration of ours: the member that tells, and what it is.
var others = map[string]string{"version": "the configuration of buf", "services": "a compose file", "kind": "an object of Kubernetes"}

// Each block of YAML is a configuration that loads as it stands, or says by a member what else it is.
func TestFences_configurationLoads(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, f := range fences(t, page) {
			if f.kind() != "yaml" {
				continue
			}
			found++
			var members map[string]any
			if err := yaml.Unmarshal([]byte(f.text), &members); err != nil {
				t.Errorf("%s:%d: %v", page, f.line, err)
				continue
			}
			if slices.ContainsFunc(slices.Collect(maps.Keys(members)), func(name string) bool { return others[name] != "" }) {
				continue
			}
			text := withFiles(t, f.text)
			if section, ok := members["auth"].(map[string]any); !ok || section["keys"] == nil {
				text = "dev: true\n" + text // a part of a configuration: development mode has the rest
			}
			file := written(t, "trunkline.yaml", text)
			if _, err := app.Load(config.Sources{Files: []string{file}}); err != nil {
				t.Errorf("%s:%d: %v", page, f.line, err)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d blocks of YAML were found", found)
	}
}

// aFileOf is a setting that names a file.
var aFileOf = regexp.MustCompile(`\b([a-z_]+_file): ([^\s,}]+)`)

// withFiles makes the files that a configuration names, and returns it with where they are. Each is good for any of the settings.
func withFiles(tb testing.TB, text string) string {
	tb.Helper()
	return aFileOf.ReplaceAllStringFunc(text, func(s string) string {
		name, _, _ := strings.Cut(s, ":")
		content := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"
		switch name {
		case "private_key_file":
			key, err := auth.NewKey("k1")
			testkit.Check(tb, err)
			content = string(key.PEM)
		case "key_file":
			content, _ = rpc.NewAPIKey("backend", rpc.ScopeAll)
		}
		return name + ": " + written(tb, name, content)
	})
}

// written returns a file that has a text.
func written(tb testing.TB, name, text string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), name)
	testkit.Check(tb, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// parsersOf read a language.
var parsersOf = map[string]func(tb testing.TB, text string) error{
	"json": func(_ testing.TB, text string) error {
		for dec := json.NewDecoder(strings.NewReader(text)); ; {
			var value any
			if err := dec.Decode(&value); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	},
	"xml": func(_ testing.TB, text string) error {
		var value struct {
			All string `xml:",innerxml"`
		}
		return xml.Unmarshal([]byte(text), &value)
	},
	"js": func(tb testing.TB, text string) error { return checks(tb, "part.mjs", text, "node", "--check") },
	"proto": func(tb testing.TB, text string) error {
		return checks(tb, "part.proto", text, "protoc", "--proto_path=../proto", "--proto_path=.", "--descriptor_set_out=/dev/null")
	},
}

// checks runs a program with a file that has a text.
func checks(tb testing.TB, name, text string, command ...string) error {
	tb.Helper()
	needs(tb, command[0])
	file := written(tb, name, text)
	for i, arg := range command {
		command[i] = strings.Replace(arg, "--proto_path=.", "--proto_path="+filepath.Dir(file), 1)
	}
	out, err := exec.CommandContext(tb.Context(), command[0], append(command[1:], file)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// What is written in a language can be read in it. The pages of languages show parts of programs, which other tests make and run.
func TestFences_parse(t *testing.T) {
	for _, page := range pages(t) {
		for _, f := range fences(t, page) {
			parse := parsersOf[f.kind()]
			if parse == nil || f.kind() == "js" && inLanguages(page) {
				continue
			}
			if err := parse(t, f.text); err != nil {
				t.Errorf("%s:%d: %v", page, f.line, err)
			}
		}
	}
}

// imported are the packages that snippets of Go may use without saying so.
var imported = map[string]string{
	"base64": "encoding/base64", "bus": "github.com/trunkline/trunkline/internal/bus", "context": "context", "fmt": "fmt", "hmac": "crypto/hmac",
	"hooksv1": "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1", "http": "net/http", "io": "io", "os": "os", "sha256": "crypto/sha256",
	"slices": "slices", "strconv": "strconv", "strings": "strings", "time": "time",
}

// around is what snippets leave to their reader.
const around = `
type server struct{ hooksv1.UnimplementedAuthorizerServiceServer }

func (*server) isMember(user, address string) bool { return user != address }

var _ hooksv1.AuthorizerServiceServer = &server{}

func main() {}
`

// program makes a file of snippets, with the imports that they need.
func program(tb testing.TB, snippets string) string {
	tb.Helper()
	body := snippets + around
	parsed, err := parser.ParseFile(token.NewFileSet(), "", "package main\n"+body, 0)
	testkit.Check(tb, err)
	needed := map[string]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && imported[x.Name] != "" {
				needed[fmt.Sprintf("import %s %q\n", x.Name, imported[x.Name])] = true
			}
		}
		return true
	})
	return "package main\n\n" + strings.Join(slices.Sorted(maps.Keys(needed)), "") + body
}

// Snippets of Go compile, but for those that another test makes part of a program.
func TestFences_goCompiles(t *testing.T) {
	var all string
	for _, page := range pages(t) {
		if inLanguages(page) || filepath.Base(page) == "tokens.md" {
			continue // TestPages_showThePrograms, and TestDocs_tokenEndpoints
		}
		for _, f := range fences(t, page) {
			if f.kind() == "go" && f.file() == "" {
				all += fmt.Sprintf("\n//line %s:%d\n", page, f.line) + f.text
			}
		}
	}
	if err := checks(t, "main.go", program(t, all), "go", "vet"); err != nil {
		t.Error(err)
	}
}
