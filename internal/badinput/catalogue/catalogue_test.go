// Package catalogue_test holds the list of wrong input to the tests that try it.
package catalogue_test

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

//go:embed testdata/catalogue.txt
var catalogue string

// families are how many numbers of wrong input each kind has.
var families = map[string]int{"wu": 54, "ws": 86, "wj": 51, "ht": 68, "gr": 60, "tk": 70, "ch": 60, "cf": 62}

// source is what a file of tests has: its functions, and the texts in its code. Comments are not among them.
type source struct {
	tests []string
	texts []string
}

func read(t *testing.T, name string) source {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", name), nil, parser.SkipObjectResolution)
	testkit.Check(t, err)
	var s source
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Test") {
				s.tests = append(s.tests, n.Name.Name)
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				s.texts = append(s.texts, text, strings.Trim(n.Value, "`\""))
			}
		case *ast.Ident:
			s.texts = append(s.texts, n.Name)
		}
		return true
	})
	return s
}

// has says whether a file has a test of the name, or the text in its code.
func (s source) has(text string) bool {
	if strings.HasPrefix(text, "Test") {
		return slices.Contains(s.tests, text)
	}
	return slices.ContainsFunc(s.texts, func(have string) bool { return strings.Contains(have, text) })
}

// Every number is in the list, and what the list names is there.
func TestCatalogue(t *testing.T) {
	held, sources, nowhere := map[string]bool{}, map[string]source{}, 0
	for line := range strings.Lines(catalogue) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)
		family, first, last := "", 0, 0
		if n, _ := fmt.Sscanf(part[0], "%s %d-%d", &family, &first, &last); n < 2 || len(part) != 3 {
			t.Fatalf("cannot be read: %s", line)
		}
		for i := first; i <= max(first, last); i++ {
			held[fmt.Sprintf("%s-%03d", family, i)] = true
		}
		name, text := strings.TrimSpace(part[1]), strings.TrimSpace(part[2])
		if name == "" {
			nowhere++
			continue
		}
		if _, ok := sources[name]; !ok {
			sources[name] = read(t, name)
		}
		if text == "" || !sources[name].has(text) {
			t.Errorf("%s has no %q, which %s names", name, text, part[0])
		}
	}
	if all := 511; len(held) != all || nowhere > 8 {
		t.Errorf("%d numbers are held of %d, and %d lines say that there is nothing to hold", len(held), all, nowhere)
	}
	for family, count := range families {
		for i := 1; i <= count; i++ {
			if id := fmt.Sprintf("%s-%03d", family, i); !held[id] {
				t.Errorf("%s is not held", id)
			}
		}
	}
}
