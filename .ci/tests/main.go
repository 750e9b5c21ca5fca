// Command tests writes the names of all tests and fuzz targets that go test runs on Linux, each with its folder, to the
// standard output. The list is kept beside it, and make gen-check compares it with what is there. So a test that is lost is seen. Of a
// file that a build tag or a wrong name leaves out, go test says nothing.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	names, err := all()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.Stdout, strings.Join(names, "\n"))
}

// listed is what go list says of a package.
type listed struct {
	Dir                       string
	TestGoFiles, XTestGoFiles []string
}

// run matches what go test runs.
var run = regexp.MustCompile(`^(Test|Fuzz)([^a-z]|$)`)

// all returns the names, sorted.
func all() ([]string, error) {
	top, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	list := exec.Command("go", "list", "-json=Dir,TestGoFiles,XTestGoFiles", "./...") //nolint:noctx // ends by itself
	list.Env = append(os.Environ(), "GOOS=linux")                                     // the same list on every system
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var names []string
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		folder, err := filepath.Rel(top, p.Dir)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			found, err := functions(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				names = append(names, filepath.ToSlash(folder)+" "+f)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// functions returns the tests of a file.
func functions(path string) (found []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && run.MatchString(f.Name.Name) && f.Name.Name != "TestMain" {
			found = append(found, f.Name.Name)
		}
	}
	return found, nil
}
