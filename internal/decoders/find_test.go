// Package decoders_test holds every function that reads what others wrote to a fuzz target with a corpus.
package decoders_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top of the module.
const root = "../.."

// verb begins the name of a function that reads: parse, parseJWK and ReadFile, but not ready.
var verb = regexp.MustCompile(`^([Pp]arse|[Dd]ecode|[Uu]nmarshal|[Rr]ead|[Ss]can|[Ss]plit)([A-Z].*|)$`)

// outside are the types of parameters that hold what others wrote.
var outside = []string{
	"string", "[]byte", "[]string", "io.Reader", "*bufio.Reader", "json.RawMessage", "*json.Decoder", "map[string]json.RawMessage", "mem.BufferSlice",
	"*http.Request", "*http.Response", "http.Header", "url.Values", "*url.URL", "*yaml.Node", "map[string]string", "*redis.Cmd", "*redis.StringCmd", "any", "[]any",
}

// libraries are the calls with which a function reads, whatever its own name is.
var libraries = regexp.MustCompile(`^(json\.(Unmarshal|NewDecoder)|proto(json|text)?\.Unmarshal|unmarshal\.Unmarshal|yaml\.(Unmarshal|NewDecoder)` +
	`|payload\.Unmarshal.*|jose\.(Parse.*|DecodeObject)|.*\.DecodeString|url\.(Parse.*|PathUnescape|QueryUnescape)|strconv\.(Parse.*|Atoi|Unquote)` +
	`|netip\.Parse.*|net\.(Parse.*|SplitHostPort)|time\.Parse.*|uuid\.Parse|pem\.Decode|x509\.Parse.*|binary\.(BigEndian|LittleEndian)\.Uint(16|32|64)` +
	`|(gzip|flate|zlib)\.NewReader|utf16\.Decode.*|http\.Parse.*|mime\.Parse.*)$`)

// apart are folders whose code reads nothing of others: generated code, other modules, and what only tests use.
var apart = []string{
	"gen", "bench", "faults", "node_modules", "testdata", "bustest", "dialecttest", "redistest", "apptest", "testkit", "rpctest", "simulate",
}

// walk calls visit with every Go file of the module that is not apart, and its folder.
func walk(t *testing.T, visit func(at, folder string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir():
			if at != root && (strings.HasPrefix(name, ".") || slices.Contains(apart, name)) {
				return filepath.SkipDir
			}
		case strings.HasSuffix(at, ".go"):
			folder, err := filepath.Rel(root, filepath.Dir(at))
			visit(at, filepath.ToSlash(folder))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// decoders returns the functions of the module that read what others wrote, as "folder name", and the fuzz targets.
func decoders(t *testing.T) (found, targets []string) {
	t.Helper()
	walk(t, func(at, folder string) {
		text, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		functions, fuzzers := inFile(t, text)
		if strings.HasSuffix(at, "_test.go") {
			functions = nil
		}
		for _, name := range functions {
			found = append(found, folder+" "+name)
		}
		for _, name := range fuzzers {
			targets = append(targets, folder+" "+name)
		}
	})
	slices.Sort(found)
	slices.Sort(targets)
	return slices.Compact(found), targets
}

// inFile returns the decoders of a file and its fuzz targets.
func inFile(t *testing.T, text []byte) (found, targets []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	src := func(n ast.Node) string {
		return string(text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = strings.TrimPrefix(src(f.Recv.List[0].Type), "*") + "." + name
		}
		if strings.HasPrefix(name, "Fuzz") && len(f.Type.Params.List) == 1 && src(f.Type.Params.List[0].Type) == "*testing.F" {
			targets = append(targets, name)
		}
		if reads(f, src) {
			found = append(found, name)
		}
	}
	return found, targets
}

// reads says whether a function reads what others wrote. Its name says so and it takes such a thing, or it calls what reads.
func reads(f *ast.FuncDecl, src func(ast.Node) string) bool {
	calls := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		calls = calls || ok && libraries.MatchString(src(c.Fun))
		return !calls
	})
	if calls {
		return true
	}
	if !verb.MatchString(f.Name.Name) || f.Type.Results == nil || f.Recv != nil && f.Name.Name == "Read" && src(f.Type.Results) == "(int, error)" {
		return false // an io.Reader hands on what others wrote, and reads nothing of it
	}
	return slices.ContainsFunc(f.Type.Params.List, func(p *ast.Field) bool { return slices.Contains(outside, src(p.Type)) })
}
