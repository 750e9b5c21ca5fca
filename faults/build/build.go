// Package build makes programs out of the sources of the product: as they are, with a clock that can be moved, and broken on purpose.
//
// The sources themselves have nothing for it. `go build -overlay` puts other texts in the place of files, in our module and in the
// standard library.
package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockFile is the variable that names the file of a program whose clock can be moved. The file holds how many seconds its clock is ahead.
const ClockFile = "TRUNKLINE_FAULTS_CLOCK"

// Maker makes programs in a folder.
type Maker struct {
	source, dir string
}

// New returns a maker that finds the sources above the working directory.
func New(ctx context.Context, dir string) (*Maker, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/trunkline/trunkline").Output()
	if err != nil {
		return nil, fmt.Errorf("find the sources: %w", err)
	}
	return &Maker{source: strings.TrimSpace(string(out)), dir: dir}, nil
}

// Plain makes the product as it is, and returns its path.
func (m *Maker) Plain(ctx context.Context) (string, error) { return m.build(ctx, "trunkline", nil) }

// Race makes the product with the race detector.
func (m *Maker) Race(ctx context.Context) (string, error) {
	return m.build(ctx, "trunkline-race", nil, "-race")
}

// Movable makes the product with a clock that can be moved. Everything is compiled anew, the standard library too, so the first time
// takes minutes.
func (m *Maker) Movable(ctx context.Context) (string, error) {
	files, err := m.movable(ctx)
	if err != nil {
		return "", err
	}
	return m.build(ctx, "trunkline-movable", files)
}

// movable returns the files of a clock that can be moved.
func (m *Maker) movable(ctx context.Context) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	clock := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	b, err := os.ReadFile(clock) //nolint:gosec // of our own Go
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	text, err := replaced(string(b), "sec, nsec, mono := runtimeNow()\n\tif mono == 0 {", "sec, nsec, mono := runtimeNow()\n\tsec += Skew\n\tif mono == 0 {")
	if err != nil {
		return nil, err
	}
	return map[string]string{
		clock: text + "\n// Skew is how many seconds the wall clock is ahead.\nvar Skew int64\n",
		filepath.Join(m.source, "cmd", "trunkline", "zz_clock.go"): mover,
	}, nil
}

// mover is a file of the product's main package that moves its clock.
const mover = `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	path := os.Getenv("` + ClockFile + `")
	look := func() {
		b, _ := os.ReadFile(path)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			time.Skew = n
		}
	}
	if path == "" {
		return
	}
	_ = os.Unsetenv("` + ClockFile + `") // the product refuses settings that it does not know
	look()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			look()
		}
	}()
}
`

// ErrDoesNotFit says that a text which is to be replaced is not there exactly once.
var ErrDoesNotFit = errors.New("the control no longer fits")

// Change is a text in a file of the product that another one stands in for.
type Change struct {
	File, Old, New string
}

// Broken makes the product with changes, and with a clock that can be moved if that is asked for.
func (m *Maker) Broken(ctx context.Context, name string, movable bool, changes ...Change) (string, error) {
	files, err := m.changed(changes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if movable {
		clock, err := m.movable(ctx)
		if err != nil {
			return "", err
		}
		maps.Copy(files, clock)
	}
	return m.build(ctx, "trunkline-"+name, files)
}

func (m *Maker) changed(changes []Change) (map[string]string, error) {
	files := map[string]string{}
	for _, c := range changes {
		path := filepath.Join(m.source, c.File)
		text, ok := files[path]
		if !ok {
			b, err := os.ReadFile(path) //nolint:gosec // of our own sources
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDoesNotFit, err)
			}
			text = string(b)
		}
		text, err := replaced(text, c.Old, c.New)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.File, err)
		}
		files[path] = text
	}
	return files, nil
}

// Fits says whether changes can be made.
func (m *Maker) Fits(changes ...Change) error {
	_, err := m.changed(changes)
	return err
}

func replaced(text, old, by string) (string, error) {
	if n := strings.Count(text, old); n != 1 {
		return "", fmt.Errorf("%w: %q is there %d times", ErrDoesNotFit, old, n)
	}
	return strings.Replace(text, old, by, 1), nil
}

// build builds the product with other texts in the place of some files.
func (m *Maker) build(ctx context.Context, name string, files map[string]string, flags ...string) (string, error) {
	program := filepath.Join(m.dir, name)
	args := append([]string{"build", "-o", program}, flags...)
	if files != nil {
		overlay, err := m.overlay(name, files)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/trunkline")...) //nolint:gosec // our own words
	cmd.Dir = m.source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return program, nil
}

// overlay writes the texts, and the file that says whose place they take.
func (m *Maker) overlay(name string, files map[string]string) (string, error) {
	replace := map[string]string{}
	for path, text := range files {
		at := filepath.Join(m.dir, fmt.Sprintf("%s-%d-%s", name, len(replace), filepath.Base(path)))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write an overlay: %w", err)
		}
		replace[path] = at
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write an overlay: %w", err)
	}
	path := filepath.Join(m.dir, name+".json")
	return path, os.WriteFile(path, b, 0o600)
}
