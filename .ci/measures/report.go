package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"os"
	"slices"
	"strings"
)

// The bounds that -check holds every package to.
const (
	longest   = 60 // lines of a function
	mostFiles = 14 // files of a package
	least     = 4  // files, of a package that has an order at all
	mostBack  = 20 // of 100 arrows
	leastWhys = 3  // comments inside of functions for 100 lines, where the code is dense
)

// verbs are the packages in which one file is one verb, or one subject. A reader looks for such a file by its name, so these
// packages may have more files.
var verbs = []string{"internal/redis", "internal/memory", "internal/bus/bustest", "services/publish", "cmd/trunkline"}

// dense are the packages in which a reader has to rebuild a state machine or a protocol.
var dense = []string{
	"services/edge/fan", "services/edge/wire", "internal/tail", "internal/redis", "internal/redis/links", "internal/redis/pipes", "internal/redis/server",
}

// figures are what is known of one package.
type figures struct {
	path                string
	files, arrows, back int
	lines, doc, whys    int // doc: comments of declarations and fields; whys: comments inside of functions
}

// share is how many of 100 arrows run back up.
func (f figures) share() int {
	if f.arrows == 0 {
		return 0
	}
	return (100*f.back + f.arrows/2) / f.arrows
}

// measures are the figures of all.
type measures struct {
	files, functions []int
	over             []string
	packages         []figures
}

func measure(set *token.FileSet, rooms []*room) *measures {
	m := &measures{}
	for _, r := range rooms {
		p := figures{path: r.path, files: len(r.files)}
		p.arrows, p.back = r.arrows(set)
		for _, f := range r.files {
			m.files = append(m.files, f.lines)
			p.lines += f.lines
			m.measureFunctions(set, r.path, f)
			doc, whys := comments(f.ast)
			p.doc, p.whys = p.doc+doc, p.whys+whys
		}
		m.packages = append(m.packages, p)
	}
	return m
}

func (m *measures) measureFunctions(set *token.FileSet, path string, f *file) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
		m.functions = append(m.functions, n)
		if n > longest {
			m.over = append(m.over, fmt.Sprintf("%s/%s: %s has %d lines", path, f.name, fn.Name.Name, n))
		}
	}
}

// comments counts the lines of comments of a file: those outside of functions, and those inside.
func comments(f *ast.File) (doc, whys int) {
	for _, g := range f.Comments {
		inside := slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
			fn, ok := d.(*ast.FuncDecl)
			return ok && fn.Body != nil && fn.Body.Pos() < g.Pos() && g.End() < fn.Body.End()
		})
		for _, c := range g.List {
			switch {
			case strings.HasPrefix(c.Text, "//nolint"): // said to a linter
			case inside:
				whys++
			default:
				doc++
			}
		}
	}
	return doc, whys
}

func (m *measures) print(w io.Writer) {
	fmt.Fprintf(w, "Files: %d; lines: median %d, 90 of 100 have at most %d, the longest %d.\n", len(m.files), part(m.files, 50), part(m.files, 90), part(m.files, 100))
	fmt.Fprintf(w, "Functions: %d; lines: median %d, 90 of 100 have at most %d, the longest %d; %d have more than %d.\n",
		len(m.functions), part(m.functions, 50), part(m.functions, 90), part(m.functions, 100), len(m.over), longest)
	for _, f := range m.over {
		fmt.Fprintln(w, "  "+f)
	}
	fmt.Fprint(w, "\n| package | files | arrows | run back up | comments in 100 lines, inside of functions |\n|---|---:|---:|---:|---:|\n")
	for _, p := range m.packages {
		if p.files < least {
			continue
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d (%d %%) | %.1f, %.1f |\n",
			p.path, p.files, p.arrows, p.back, p.share(), per100(p.doc+p.whys, p.lines), per100(p.whys, p.lines))
	}
}

func per100(n, lines int) float64 { return 100 * float64(n) / float64(max(lines, 1)) }

// check says which bounds are passed.
func (m *measures) check() error {
	var all []error
	for _, f := range m.over {
		all = append(all, fmt.Errorf("%s; the bound is %d", f, longest))
	}
	for _, p := range m.packages {
		if p.files > mostFiles && !slices.Contains(verbs, p.path) {
			all = append(all, fmt.Errorf("%s has %d files; the bound is %d", p.path, p.files, mostFiles))
		}
		if p.files >= least && p.share() > mostBack {
			all = append(all, fmt.Errorf("%s: %d of %d arrows run back up; the bound is %d %%. go run ./.ci/measures %[1]s lists them", p.path, p.back, p.arrows, mostBack))
		}
		if slices.Contains(dense, p.path) && per100(p.whys, p.lines) < leastWhys {
			all = append(all, fmt.Errorf("%s: %.1f comments inside of functions for 100 lines; the least is %d", p.path, per100(p.whys, p.lines), leastWhys))
		}
	}
	return errors.Join(all...)
}

// The marks between which the table stands in a document.
const (
	begin = "<!-- measures: make measures WRITE=1 -->\n"
	end   = "<!-- end of measures -->\n"
)

// write puts the figures between the marks of a document.
func (m *measures) write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ends := strings.Cut(rest, end)
	if !ok || !ends {
		return fmt.Errorf("%s has no marks for the figures", path)
	}
	var b strings.Builder
	m.print(&b)
	return os.WriteFile(path, []byte(before+begin+b.String()+end+after), 0o644)
}

// part returns the value below which p of 100 values are.
func part(values []int, p int) int {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, len(values)*p/100)]
}
