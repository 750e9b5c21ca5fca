// Command measures prints how the code is built, in the figures that docs/architecture.md keeps: files and functions by length,
// files a package, and how many arrows between the files of a package run back up. Run it at the top: make measures.
//
// An arrow goes from a file to each other file of its package that declares a name it uses. The files of a package are put in an
// order with as few arrows against it as a greedy search finds (Eades, Lin and Smyth, 1993); those that remain run back up.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "measures:", err)
		os.Exit(1)
	}
}

// room is one package.
type room struct {
	path  string
	files []*file
}

type file struct {
	name  string
	lines int
	ast   *ast.File
}

func run() error {
	set := token.NewFileSet()
	rooms := map[string]*room{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "gen" || name == "bench" || name == "node_modules" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return read(set, rooms, path)
	})
	if err != nil {
		return err
	}
	report(set, rooms)
	return nil
}

func read(set *token.FileSet, rooms map[string]*room, path string) error {
	parsed, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if rooms[dir] == nil {
		rooms[dir] = &room{path: dir}
	}
	rooms[dir].files = append(rooms[dir].files, &file{filepath.Base(path), set.File(parsed.Pos()).LineCount(), parsed})
	return nil
}

func report(set *token.FileSet, rooms map[string]*room) {
	var files, functions []int
	for _, r := range rooms {
		for _, f := range r.files {
			files = append(files, f.lines)
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					functions = append(functions, set.Position(fn.End()).Line-set.Position(fn.Pos()).Line+1)
				}
			}
		}
	}
	fmt.Printf("files %d: lines median %d, 90 in 100 below %d, most %d\n", len(files), part(files, 50), part(files, 90), part(files, 100))
	over := 0
	for _, n := range functions {
		if n > 60 {
			over++
		}
	}
	fmt.Printf("functions %d: lines median %d, 90 in 100 below %d, most %d; over 60: %d\n",
		len(functions), part(functions, 50), part(functions, 90), part(functions, 100), over)
	fmt.Printf("\n| package | files | arrows | run back up |\n|---|---:|---:|---:|\n")
	paths := make([]string, 0, len(rooms))
	for path := range rooms {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		r := rooms[path]
		arrows, back := r.arrows()
		if len(r.files) < 4 {
			continue
		}
		share := 0
		if arrows > 0 {
			share = (100*back + arrows/2) / arrows
		}
		fmt.Printf("| %s | %d | %d | %d (%d %%) |\n", path, len(r.files), arrows, back, share)
	}
}

// part returns the value below which p of 100 values are.
func part(values []int, p int) int {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, len(values)*p/100)]
}

// arrows counts the arrows between the files of a room, and those that run against its best order.
func (r *room) arrows() (all, back int) {
	homes := r.homes()
	edges := make([]map[int]bool, len(r.files))
	for i, f := range r.files {
		edges[i] = map[int]bool{}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			if home, known := homes[id.Name]; known && home != i {
				edges[i][home] = true
			}
			return true
		})
		all += len(edges[i])
	}
	place := order(edges)
	for from, to := range edges {
		for t := range to {
			if place[from] > place[t] {
				back++
			}
		}
	}
	return all, back
}

// homes says in which file each name of the package is declared. A name that stands in several files, as a method of several
// types does, is nobody's.
func (r *room) homes() map[string]int {
	homes := map[string]int{}
	note := func(name string, i int) {
		if old, ok := homes[name]; ok && old != i {
			i = -1
		}
		homes[name] = i
	}
	for i, f := range r.files {
		for _, d := range f.ast.Decls {
			for _, name := range declared(d) {
				note(name, i)
			}
		}
	}
	for name, i := range homes {
		if i < 0 || name == "_" {
			delete(homes, name)
		}
	}
	return homes
}

func declared(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return []string{d.Name.Name}
	case *ast.GenDecl:
		var names []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names
	}
	return nil
}

// order returns a place for each file, so that most arrows go from a lower place to a higher one.
func order(edges []map[int]bool) []int {
	left := map[int]bool{}
	for i := range edges {
		left[i] = true
	}
	var first, last []int
	for len(left) > 0 {
		best, score, sink := -1, 0, false
		for i := range edges {
			if !left[i] {
				continue
			}
			out, in := degrees(edges, left, i)
			if out == 0 {
				best, sink = i, true
				break
			}
			if best < 0 || out-in > score {
				best, score = i, out-in
			}
		}
		delete(left, best)
		if sink {
			last = append(last, best)
		} else {
			first = append(first, best)
		}
	}
	slices.Reverse(last)
	place := make([]int, len(edges))
	for p, i := range append(first, last...) {
		place[i] = p
	}
	return place
}

func degrees(edges []map[int]bool, left map[int]bool, i int) (out, in int) {
	for j := range edges[i] {
		if left[j] {
			out++
		}
	}
	for j := range left {
		if edges[j][i] {
			in++
		}
	}
	return out, in
}
