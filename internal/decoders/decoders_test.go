package decoders_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every function that reads what others wrote is fed by a fuzz target, or has a reason not to be. Every target feeds something, and has
// a corpus of a few small inputs.
func TestDecoders(t *testing.T) {
	found, targets := decoders(t)
	fed, excepted := table(t, "targets.txt"), table(t, "exceptions.txt")
	known := map[string]bool{}
	for target, list := range fed {
		folder, _, _ := strings.Cut(target, " ")
		for name := range strings.FieldsSeq(strings.TrimPrefix(list, "-")) {
			decoder := folder + " " + name
			if strings.Contains(name, "/") {
				decoder = path.Dir(name) + " " + path.Base(name)
			}
			if known[decoder] = true; !slices.Contains(found, decoder) {
				t.Errorf("targets.txt: %s feeds %s, which is no decoder any more", target, decoder)
			}
		}
		if !slices.Contains(targets, target) {
			t.Errorf("targets.txt: there is no fuzz target %s", target)
		}
	}
	for decoder, reason := range excepted {
		if !slices.Contains(found, decoder) || known[decoder] || len(reason) < 10 {
			t.Errorf("exceptions.txt: %s (%q) is no decoder any more, is fed, or has no reason", decoder, reason)
		}
	}
	for _, decoder := range found {
		if _, ok := excepted[decoder]; !ok && !known[decoder] {
			t.Errorf("%s has no fuzz target: write one and name it in internal/decoders/testdata/targets.txt, or give a reason in exceptions.txt", decoder)
		}
	}
	for _, target := range targets {
		if _, ok := fed[target]; !ok {
			t.Errorf("targets.txt does not say what %s feeds", target)
		}
		corpus(t, target)
	}
	if len(found) < 200 || len(targets) < 70 {
		t.Errorf("there are %d decoders and %d targets only: the rule finds too little", len(found), len(targets))
	}
}

// corpus checks the inputs that are kept for a target.
func corpus(t *testing.T, target string) {
	t.Helper()
	folder, name, _ := strings.Cut(target, " ")
	files, err := os.ReadDir(filepath.Join(root, folder, "testdata", "fuzz", name))
	if err != nil || len(files) < 3 {
		t.Errorf("%s has %d inputs in its testdata/fuzz, at least 3 are wanted: valid ones and nasty ones", target, len(files))
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > 16<<10 {
			t.Errorf("%s: the input %s is larger than 16 KiB, or cannot be read: %v", target, f.Name(), err)
		}
	}
}

// table reads a file of lines with a key, a colon and the rest.
func table(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, rest, ok := strings.Cut(line, ": ")
		if _, twice := rows[key]; !ok || twice {
			t.Errorf("%s: the line %q has no colon, or its key stands there twice", name, line)
		}
		rows[key] = rest
	}
	return rows
}

// The rule finds a decoder by its name or by what it calls, and passes over the rest.
func TestDecoders_rule(t *testing.T) {
	found, targets := inFile(t, []byte(`package x
func ParseName(s string) (Name, error) { return Name{}, nil }
func (r *reader) readLine(in *bufio.Reader) ([]byte, error) { return nil, nil }
func nameOf(b []byte) string { var s string; json.Unmarshal(b, &s); return s }
func size(s string) int { n, _ := strconv.Atoi(s); return n }
func ready(s string) error { return nil }
func parser() {}
func readAll(n int) error { return nil }
func (c *conn) Read(b []byte) (int, error) { return 0, nil }
func write(s string) error { return nil }
func FuzzName(f *testing.F) {}
func FuzzNothing(n int) {}
`))
	if want := []string{"ParseName", "reader.readLine", "nameOf", "size"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	if want := []string{"FuzzName"}; !slices.Equal(targets, want) {
		t.Errorf("targets are %q, want %q", targets, want)
	}
}
