// Command measures prints how the code is built, in the figures that docs/architecture.md keeps. These are files and functions by
// length, files a package, and how many arrows between the files of a package run back up. Run it at the top: make measures. With
// the path of a package it prints that one's order, and each arrow that runs back up. With -check it says where a bound is
// passed, and with -write it puts the table into docs/architecture.md.
//
// An arrow goes from a file to each other file of its package that declares a name it uses, as the type checker understands it.
// The files of a package are put in an order with as few arrows against it as a search finds. The search is greedy (Eades, Lin
// and Smyth, 1993); then each file moves to where fewer arrows run against the order. The arrows that remain run back up.
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
	m := measure(set, rooms)
	switch what := strings.Join(os.Args[1:], " "); what {
	case "":
		m.print(os.Stdout)
		return nil
	case "-check":
		return m.check()
	case "-write":
		return m.write("docs/architecture.md")
	default:
		for _, r := range rooms {
			if r.path == filepath.Clean(what) {
				r.explain(set)
				return nil
			}
		}
		return fmt.Errorf("there is no package %s", what)
	}
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
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
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
