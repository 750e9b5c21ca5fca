// Command measures prints how the code is built, in the figures that docs/architecture.md keeps: files and functions by length,
// files a package, and how many arrows between the files of a package run back up. Run it at the top: make measures. With the
// path of a package it prints that one's order, and each arrow that runs back up.
//
// An arrow goes from a file to each other file of its package that declares a name it uses, as the type checker understands it.
// The files of a package are put in an order with as few arrows against it as a search finds (greedy: Eades, Lin and Smyth, 1993;
// then each file moves to where fewer run against it); those that remain run back up.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
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
	uses  map[*ast.Ident]types.Object
}

type file struct {
	name  string
	lines int
	ast   *ast.File
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// exclude are the packages that nobody reads: generated code.
const exclude = "/gen/"

func run() error {
	list, err := packages()
	if err != nil {
		return err
	}
	exports := map[string]string{}
	for _, p := range list {
		exports[p.ImportPath] = p.Export
	}
	set := token.NewFileSet()
	imports := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	top, err := os.Getwd()
	if err != nil {
		return err
	}
	var rooms []*room
	for _, p := range list {
		if p.DepOnly || strings.Contains(p.ImportPath+"/", exclude) {
			continue
		}
		r, err := read(set, imports, p)
		if err != nil {
			return err
		}
		if r.path, err = filepath.Rel(top, p.Dir); err != nil {
			return err
		}
		rooms = append(rooms, r)
	}
	if len(os.Args) > 1 {
		for _, r := range rooms {
			if r.path == filepath.Clean(os.Args[1]) {
				r.explain(set)
			}
		}
		return nil
	}
	report(set, rooms)
	return nil
}

// packages lists those of this module and all that they import, compiled.
func packages() ([]listed, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var list []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, p)
	}
}

// read parses and checks one package.
func read(set *token.FileSet, imports types.Importer, p listed) (*room, error) {
	r := &room{uses: map[*ast.Ident]types.Object{}}
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
		r.files = append(r.files, &file{name, set.File(f.Pos()).LineCount(), f})
	}
	cfg := types.Config{Importer: imports}
	if _, err := cfg.Check(p.ImportPath, set, parsed, &types.Info{Uses: r.uses}); err != nil {
		return nil, err
	}
	return r, nil
}

// longest is how many lines a function may have.
const longest = 60

func report(set *token.FileSet, rooms []*room) {
	var files, functions []int
	var over []string
	for _, r := range rooms {
		for _, f := range r.files {
			files = append(files, f.lines)
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil {
					continue
				}
				n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
				functions = append(functions, n)
				if n > longest {
					over = append(over, fmt.Sprintf("%s/%s %s: %d", r.path, f.name, fn.Name.Name, n))
				}
			}
		}
	}
	fmt.Printf("files %d: lines median %d, 90 in 100 below %d, most %d\n", len(files), part(files, 50), part(files, 90), part(files, 100))
	fmt.Printf("functions %d: lines median %d, 90 in 100 below %d, most %d; over %d: %d\n",
		len(functions), part(functions, 50), part(functions, 90), part(functions, 100), longest, len(over))
	for _, f := range over {
		fmt.Println("  " + f)
	}
	fmt.Printf("\n| package | files | arrows | run back up |\n|---|---:|---:|---:|\n")
	for _, r := range rooms {
		arrows, back := r.arrows(set)
		if len(r.files) < 4 {
			continue
		}
		share := 0
		if arrows > 0 {
			share = (100*back + arrows/2) / arrows
		}
		fmt.Printf("| %s | %d | %d | %d (%d %%) |\n", r.path, len(r.files), arrows, back, share)
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
func (r *room) arrows(set *token.FileSet) (all, back int) {
	edges := r.edges(set)
	for _, e := range edges {
		all += len(e)
	}
	return all, len(against(edges, settle(edges, order(edges))))
}

// explain prints the best order of a room, and the arrows that run against it.
func (r *room) explain(set *token.FileSet) {
	edges := r.edges(set)
	best := settle(edges, order(edges))
	for _, i := range best {
		fmt.Println(r.files[i].name)
	}
	for _, a := range against(edges, best) {
		fmt.Printf("back: %s → %s: %s\n", r.files[a[0]].name, r.files[a[1]].name, strings.Join(edges[a[0]][a[1]], " "))
	}
}

// edges are the arrows of each file, each with the names that make it.
func (r *room) edges(set *token.FileSet) []map[int][]string {
	places := map[string]int{}
	for i, f := range r.files {
		places[f.name] = i
	}
	edges := make([]map[int][]string, len(r.files))
	for i := range edges {
		edges[i] = map[int][]string{}
	}
	for id, what := range r.uses {
		if _, field := what.(*types.Var); what.Pkg() == nil || field && what.Parent() != what.Pkg().Scope() {
			continue // a field is part of its type
		}
		to, here := places[filepath.Base(set.Position(what.Pos()).Filename)]
		from := places[filepath.Base(set.Position(id.Pos()).Filename)]
		if here && from != to && filepath.Dir(set.Position(what.Pos()).Filename) == filepath.Dir(set.Position(id.Pos()).Filename) {
			if names := edges[from][to]; !slices.Contains(names, what.Name()) {
				edges[from][to] = append(names, what.Name())
			}
		}
	}
	return edges
}

// against lists the arrows that run against an order, each from one file to another.
func against(edges []map[int][]string, order []int) (back [][2]int) {
	place := make([]int, len(edges))
	for p, i := range order {
		place[i] = p
	}
	for _, from := range order {
		for _, to := range order {
			if _, ok := edges[from][to]; ok && place[from] > place[to] {
				back = append(back, [2]int{from, to})
			}
		}
	}
	return back
}

// settle moves single files while that turns arrows.
func settle(edges []map[int][]string, order []int) []int {
	best := len(against(edges, order))
	for better := true; better; {
		better = false
		for from := range order {
			for to := range order {
				next := slices.Insert(slices.Delete(slices.Clone(order), from, from+1), to, order[from])
				if n := len(against(edges, next)); n < best {
					order, best, better = next, n, true
				}
			}
		}
	}
	return order
}

// order puts the files in an order in which most arrows go from a former to a later one.
func order(edges []map[int][]string) []int {
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
	return append(first, last...)
}

func degrees(edges []map[int][]string, left map[int]bool, i int) (out, in int) {
	for j := range edges[i] {
		if left[j] {
			out++
		}
	}
	for j := range left {
		if _, ok := edges[j][i]; ok {
			in++
		}
	}
	return out, in
}
