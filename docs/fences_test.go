package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fence is a block of a page.
type fence struct {
	page, info, text string
	line             int // of its first line of text
}

// kind is the language of a fence, and file the name of the file that it shows, if it says one.
func (f fence) kind() string { return strings.SplitN(f.info+" ", " ", 2)[0] }
func (f fence) file() string { return strings.TrimSpace(strings.TrimPrefix(f.info, f.kind())) }

var opens = regexp.MustCompile("^( *)(```+|~~~+)(.*)$")

// fences returns the blocks of a page, those within lists too.
func fences(tb testing.TB, page string) []fence {
	tb.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		tb.Fatal(err)
	}
	var all []fence
	var open *fence
	var margin, mark string
	for i, line := range strings.Split(string(b), "\n") {
		m := opens.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			margin, mark, open = m[1], m[2], &fence{page: page, info: strings.TrimSpace(m[3]), line: i + 2}
		case open != nil && m != nil && m[2] == mark && m[3] == "":
			all, open = append(all, *open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, margin) + "\n"
		}
	}
	if open != nil {
		tb.Errorf("%s:%d: the block does not end", page, open.line)
	}
	return all
}

// pages are all documents, wherever they are.
func pages(tb testing.TB) []string {
	tb.Helper()
	var all []string
	walk(tb, func(path string) { all = append(all, path) }, ".md")
	if len(all) < 25 {
		tb.Fatalf("%d pages were found", len(all))
	}
	return all
}

// holds are the languages of blocks, each with the tests that hold them to be true. A block of another language needs one first.
var holds = map[string][]string{
	"sh":      {"TestPages_doWhatTheySay", "TestPrograms"},
	"console": {"TestPages_doWhatTheySay"},
	"diff":    {"TestPages_doWhatTheySay"},
	"yaml":    {"TestFences_configurationLoads", "TestPages_bufDoesTheSame"},
	"json":    {"TestFences_parse"},
	"proto":   {"TestFences_parse"},
	"xml":     {"TestFences_parse"},
	"go":      {"TestFences_goCompiles", "TestPages_showThePrograms", "TestDocs_tokenEndpoints", "TestPages_doWhatTheySay"},
	"js":      {"TestFences_parse", "TestPages_showThePrograms", "TestDocs_tokenEndpoints"},
	"python":  {"TestPages_showThePrograms", "TestDocs_tokenEndpoints"},
	"cpp":     {"TestPages_showThePrograms"},
	"java":    {"TestPages_showThePrograms"},
	"ruby":    {"TestPages_showThePrograms"},
	"php":     {"TestPHP"},
	"csharp":  {"TestCSharp"}, // the names in it alone: its page says that nothing was compiled
	"frames":  {"TestProtocolDocument"},
	"devices": {"TestProtocolDocument_devices"},
	"hex":     {"TestProtocolDocument_hex"},
	"text":    {"TestFences_sayWhatTheyAre"},
}

// The tests that hold the blocks exist.
func TestFences_areHeld(t *testing.T) {
	all := names(t)
	for kind, tests := range holds {
		for _, name := range tests {
			if !all[name] {
				t.Errorf("blocks of %s: there is no test %s", kind, name)
			}
		}
	}
}

// aCommand is a line that is typed, whatever the language of its block says.
var aCommand = regexp.MustCompile(`(?m)^(?:\$ .*|(?:\./bin/)?(?:trunkline|make|docker|curl|go|git|npm|redis-cli|grpcurl|openssl|sudo|mv|cp) [^\n]*)$`)

// Each block says what it is. So a command cannot stand where nothing runs it.
func TestFences_sayWhatTheyAre(t *testing.T) {
	for _, page := range pages(t) {
		for _, f := range fences(t, page) {
			if holds[f.kind()] == nil {
				t.Errorf("%s:%d: no test holds a block of %q; say what it is", page, f.line, f.info)
			}
			// Another test compares the usage of the verbs in cli.md, and tries the examples.
			if f.kind() != "text" || filepath.Base(page) == "cli.md" {
				continue
			}
			if typed := aCommand.FindString(f.text); typed != "" {
				t.Errorf("%s:%d: %q is a command; write it in a block of sh or console, which is run", page, f.line, typed)
			}
		}
	}
}

// inLanguages says whether a page is one of those that the tests of the clients run.
func inLanguages(page string) bool { return slices.Contains(strings.Split(page, "/"), "languages") }
