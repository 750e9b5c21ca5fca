// Command rules fails when a folder with Go files has no import rule in .golangci.yml: depguard itself lets such a folder import
// everything. Run it at the top: go run ./.ci/rules.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}

// module is the prefix of our packages.
const module = "github.com/trunkline/trunkline"

// config is what .golangci.yml says about imports.
type config struct {
	Linters struct {
		Settings struct {
			Depguard struct {
				Rules map[string]rule
			}
		}
	}
}

// rule is one rule of depguard.
type rule struct {
	Mode  string `yaml:"list-mode"`
	Files []string
	Deny  []struct{ Pkg string }
}

func run() error {
	content, err := os.ReadFile(".golangci.yml")
	if err != nil {
		return err
	}
	var cfg config
	if err := yaml.Unmarshal(content, &cfg); err != nil {
		return err
	}
	folders, err := folders()
	if err != nil {
		return err
	}
	var bare []string
	for _, folder := range folders {
		if !cfg.covers(folder) {
			bare = append(bare, folder)
		}
	}
	if len(bare) > 0 {
		return fmt.Errorf("no import rule in .golangci.yml covers %s", strings.Join(bare, ", "))
	}
	return nil
}

// folders returns those with Go files that are no tests. Generated code and modules of their own are not ours to rule.
func folders() ([]string, error) {
	var all []string
	err := filepath.WalkDir(".", func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if at != "." && (strings.HasPrefix(name, ".") || slices.Contains([]string{"gen", "bench", "faults", "node_modules", "testdata"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(at, ".go") && !strings.HasSuffix(at, "_test.go") {
			all = append(all, filepath.ToSlash(filepath.Dir(at)))
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// covers says whether a rule about our own packages applies to the files of a folder.
func (c config) covers(folder string) bool {
	for _, r := range c.Linters.Settings.Depguard.Rules {
		if r.ours() && r.applies(folder+"/any.go") {
			return true
		}
	}
	return false
}

// ours says whether the rule speaks of our own packages: it allows a list only, or denies some of them.
func (r rule) ours() bool {
	return r.Mode == "strict" || slices.ContainsFunc(r.Deny, func(d struct{ Pkg string }) bool { return strings.HasPrefix(d.Pkg, module) })
}

func (r rule) applies(file string) bool {
	covered := false
	for _, pattern := range r.Files {
		if out, negated := strings.CutPrefix(pattern, "!"); negated {
			if out != "$test" && matches(out, file) {
				return false
			}
		} else if matches(pattern, file) {
			covered = true
		}
	}
	return covered
}

// matches says whether a pattern of depguard matches a path; ** is any number of folders.
func matches(pattern, file string) bool {
	return match(strings.Split(pattern, "/"), strings.Split(file, "/"))
}

func match(pattern, file []string) bool {
	switch {
	case len(pattern) == 0:
		return len(file) == 0
	case pattern[0] == "**":
		return match(pattern[1:], file) || len(file) > 0 && match(pattern, file[1:])
	case len(file) == 0:
		return false
	}
	ok, err := path.Match(pattern[0], file[0])
	return err == nil && ok && match(pattern[1:], file[1:])
}
