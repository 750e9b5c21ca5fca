// Command simulate breaks the product on purpose, one mend after the other, and fails unless the simulation finds each. The sources
// stay as they are: go test -overlay puts other texts in the place of files. Run it at the top: go run ./.ci/simulate.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "the one control that is run")
	seconds := flag.Int("seconds", 20, "for how many seconds the simulation may look for each")
	flag.Parse()
	if err := run(*only, *seconds); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(only string, seconds int) error {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	missed := 0
	for _, c := range controls {
		if only != "" && only != c.name {
			continue
		}
		found, err := c.run(dir, seconds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if found == "" {
			found = "NOT FOUND"
			missed++
		}
		fmt.Printf("%s (%s): %s\n", c.name, c.machine, found)
	}
	if missed > 0 {
		return fmt.Errorf("%d controls were not found", missed)
	}
	return nil
}

// overlay writes the broken files, and the file that says whose place they take.
func (c control) overlay(dir string) (string, error) {
	texts := map[string][]byte{}
	for _, change := range c.changes {
		text := texts[change.file]
		if text == nil {
			var err error
			if text, err = os.ReadFile(change.file); err != nil {
				return "", err
			}
		}
		if n := bytes.Count(text, []byte(change.old)); n != 1 {
			return "", fmt.Errorf("%s has %d places with %q", change.file, n, change.old)
		}
		texts[change.file] = bytes.Replace(text, []byte(change.old), []byte(change.by), 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		from, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, c.name+"-"+strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[from] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, c.name+".json")
	return name, os.WriteFile(name, list, 0o600)
}

// finding is the line of a report that says what was found.
var finding = regexp.MustCompile(`(?m)\w+, seed \d+: .*$`)

// run builds the broken tests and runs them. It returns the first line of what was found; empty when nothing was.
func (c control) run(dir string, seconds int) (string, error) {
	overlay, err := c.overlay(dir)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, c.name+".test")
	const simulation = "./internal/simulate"
	out, err := exec.Command("go", "test", "-c", "-o", program, "-overlay", overlay, simulation).CombinedOutput() //nolint:gosec,noctx // our own
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds+60)*time.Second)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, program, "-test.run", "TestSimulate", //nolint:gosec // our own
		"-simulate.machine", c.machine, "-simulate.seed", "1", "-simulate.seconds", fmt.Sprint(seconds))
	cmd.Dir = simulation
	out, err = cmd.CombinedOutput()
	line := string(finding.Find(out))
	var failed *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case !errors.As(err, &failed) || line == "":
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return fmt.Sprintf("%s (%.1f s)", line, time.Since(begin).Seconds()), nil
}
