package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inline is a command within a sentence. Blocks are run; these are looked up. A test of cmd/trunkline looks up ours.
var inline = regexp.MustCompile("`((?:make|go|docker compose|npm run|bash) [^`\n]+|\\.ci/[a-z-]+)`")

// target is one of the Makefile.
var target = regexp.MustCompile(`(?m)^([a-z-]+):`)

// Commands within sentences are about targets, folders, files and tests that exist.
func TestDocuments_commandsAreAboutWhatExists(t *testing.T) {
	b, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(string(b), -1) {
		targets[m[1]] = true
	}
	found := 0
	for _, page := range pages(t) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(b), -1) {
			found++
			switch words := strings.Fields(m[1]); words[0] {
			case "make":
				for _, name := range words[1:] {
					if strings.Contains(name, "=") {
						break
					}
					if !targets[name] {
						t.Errorf("%s: %s: the Makefile has no %s", page, m[1], name)
					}
				}
			default:
				looks(t, page, words)
			}
		}
	}
	if found < 40 {
		t.Errorf("%d commands were found", found)
	}
}

// looks looks up what a command names: folders, files, and for go test the tests.
func looks(tb testing.TB, page string, words []string) {
	tb.Helper()
	command, root, folder := strings.Join(words, " "), "..", ""
	for i, w := range words {
		var before string
		if i > 0 {
			before = words[i-1]
		}
		switch {
		case before == "-C":
			root = filepath.Join(root, w)
			exists(tb, page, command, root)
		case strings.HasPrefix(w, "./") || strings.HasPrefix(w, ".ci/") || before == "-f":
			folder = filepath.Join(root, strings.TrimSuffix(w, "/..."))
			exists(tb, page, command, folder)
		case before == "-run" || before == "-bench":
			pattern := strings.Trim(w, `'"`)
			if words[0] == "go" && words[1] == "test" && pattern != "^$" && !tests(tb, folder, pattern) {
				tb.Errorf("%s: %s: %s has no such test", page, command, folder)
			}
		}
	}
}

func exists(tb testing.TB, page, command, path string) {
	tb.Helper()
	if _, err := os.Stat(path); err != nil {
		tb.Errorf("%s: %s: %v", page, command, err)
	}
}

// tests says whether a folder has a test or benchmark whose name has a pattern.
func tests(tb testing.TB, folder, pattern string) bool {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		tb.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^func (?:Test|Benchmark)[A-Za-z_0-9]*` + pattern)
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && named.Match(b) {
			return true
		}
	}
	return false
}
