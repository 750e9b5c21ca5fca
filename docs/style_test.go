package docs_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	// longestLine is what a reader sees without scrolling sideways.
	longestLine = 160
	// longestSentence is how many words a sentence may have; a code span counts as one.
	longestSentence = 25
)

// documents are all pages that people read.
func documents(tb testing.TB) []string {
	tb.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "languages/*.md", "../*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// sentence is one of a document, with code spans and links shortened.
type sentence struct {
	line int
	text string
}

var (
	codeSpan  = regexp.MustCompile("``[^`]+``|`[^`]+`")
	link      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	listMark  = regexp.MustCompile(`^\s*(?:[-*]|\d+\.)\s+`)
	ruleOfRow = regexp.MustCompile(`^\|[-:| ]+\|$`)
	// end is where a sentence ends: the next one begins with a capital letter, a digit, a quote, a parenthesis, emphasis or code.
	end = regexp.MustCompile(`[.?!][)"*_]*\s+(?:[("*_]*[A-Z0-9…]|[("*]*CODE)`)
	// abbreviation is not an end.
	abbreviation = regexp.MustCompile(`\b(?:e\.g|i\.e|etc|vs)\.`)
)

// sentences splits a document. A paragraph, a hard line break, an item of a list and a cell of a table end a sentence; code blocks are left out.
func sentences(text string) []sentence {
	var all []sentence
	var block []string
	start, fenced := 0, false
	flush := func() {
		for _, s := range split(strings.Join(block, " ")) {
			all = append(all, sentence{start, s})
		}
		block = nil
	}
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			flush()
			fenced = !fenced
		case fenced:
		case trimmed == "" || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, "<!--") || ruleOfRow.MatchString(trimmed):
			flush()
		case strings.HasPrefix(trimmed, "|"):
			flush()
			for cell := range strings.SplitSeq(codeSpan.ReplaceAllString(trimmed, "CODE"), "|") {
				start, block = i+1, []string{strings.TrimSpace(cell)}
				flush()
			}
		default:
			if listMark.MatchString(line) {
				flush()
				line = listMark.ReplaceAllString(line, "")
			}
			if len(block) == 0 {
				start = i + 1
			}
			text, hard := strings.CutSuffix(strings.TrimSpace(line), `\`)
			block = append(block, text)
			if hard { // a line break of Markdown
				flush()
			}
		}
	}
	flush()
	return all
}

func split(paragraph string) []string {
	text := codeSpan.ReplaceAllString(paragraph, "CODE")
	text = link.ReplaceAllString(text, "$1")
	text = abbreviation.ReplaceAllStringFunc(text, func(s string) string { return strings.ReplaceAll(s, ".", "") })
	var all []string
	for {
		at := end.FindStringIndex(text)
		if at == nil {
			break
		}
		stop := at[0] + strings.IndexAny(text[at[0]:at[1]], " \t")
		all = append(all, strings.TrimSpace(text[:stop]))
		text = strings.TrimSpace(text[stop:])
	}
	if text != "" {
		all = append(all, text)
	}
	return all
}

// words counts what is read as a word: signs by themselves are none.
func words(s string) int {
	n := 0
	for w := range strings.FieldsSeq(s) {
		if strings.ContainsFunc(w, func(r rune) bool { return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' }) {
			n++
		}
	}
	return n
}

// idioms are turns that a reader stumbles over, and what to write.
var idioms = map[*regexp.Regexp]string{
	regexp.MustCompile(`(?:^|[;:(] ?)[Ww]ho [^?]*$`):                            "name who: the caller that, a client that",
	regexp.MustCompile(`\b(?:of|to|for|by|from|with|what|when|that|but) who\b`): "name who: the caller that, a client that",
	regexp.MustCompile(`(?i)\bwhosever\b`):                                      "whoever's",
	regexp.MustCompile(`(?i)\bwhat is none\b|\bthat is none\b`):                 "anything else",
	regexp.MustCompile(`(?i)\b(?:is that|are those|is the one) of\b`):           "repeat the noun, or use a genitive",
	regexp.MustCompile(`(?i)\bin all\b(?:[.,;:)]|$)`):                           "in total",
	regexp.MustCompile(`(?i)\bso many that\b`):                                  "name the number, or say enough that",
}

// said returns what is wrong with a sentence, and what to write; nothing when it reads well.
func said(text string) []string {
	var all []string
	for pattern, better := range idioms {
		if pattern.MatchString(text) {
			all = append(all, better)
		}
	}
	return all
}

// Every line is short enough, every sentence too, and no sentence has an idiom that only its author knows.
func TestDocuments_readWell(t *testing.T) {
	for _, path := range documents(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if n := utf8.RuneCountInString(line); n > longestLine {
				t.Errorf("%s:%d: %d characters, at most %d", path, i+1, n, longestLine)
			}
		}
		for _, s := range sentences(string(b)) {
			if n := words(s.text); n > longestSentence {
				t.Errorf("%s:%d: %d words, at most %d: %s", path, s.line, n, longestSentence, s.text)
			}
			for _, better := range said(s.text) {
				t.Errorf("%s:%d: %s: %s", path, s.line, better, s.text)
			}
		}
	}
}

// named is a comment on a method, which begins with its name.
var named = regexp.MustCompile(`^Who returns\b`)

// Comments avoid the same idioms.
func TestComments_readWell(t *testing.T) {
	set := token.NewFileSet()
	walk(t, func(path string) {
		if strings.Contains(path, "/gen/") || path == "../docs/style_test.go" {
			return
		}
		parsed, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range parsed.Comments {
			for _, s := range sentences(group.Text()) {
				if n := words(s.text); n > 25 {
					t.Errorf("%s: a sentence of %d words: %s", set.Position(group.Pos()), n, s.text)
				}
				for _, better := range said(s.text) {
					if !named.MatchString(s.text) {
						t.Errorf("%s: %s: %s", set.Position(group.Pos()), better, s.text)
					}
				}
			}
		}
	}, ".go")
}

func TestSentences(t *testing.T) {
	text := "# A heading is none\n\nOne, with `a.b c`. Two ends here! `code` begins three (as\nit may). \"Four\" e.g. is 2.5 words.\n\n" +
		"```sh\nno sentence here. Nor here.\n```\n- An item\\\n  Its text.\n- Another\n  of two lines\n\n| a | b |\n|---|---|\n| left. Still left | [right](x.md) |\n"
	want := []sentence{
		{3, "One, with CODE."},
		{3, "Two ends here!"},
		{3, "CODE begins three (as it may)."},
		{3, `"Four" eg is 2.5 words.`},
		{9, "An item"},
		{10, "Its text."},
		{11, "Another of two lines"},
		{14, "a"},
		{14, "b"},
		{16, "left."},
		{16, "Still left"},
		{16, "right"},
	}
	if got := sentences(text); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if n := words("a CODE → b — 2.5"); n != 4 {
		t.Errorf("%d words", n)
	}
}

// packages are the folders with Go code of ours, apart from those inside another one, such as internal/redis/resp.
func packages(tb testing.TB) []string {
	tb.Helper()
	all := []string{"client", "cmd/trunkline", "gateway", "web", "bench", "faults"}
	for _, parent := range []string{"internal", "services", "legacy"} {
		entries, err := os.ReadDir("../" + parent)
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				all = append(all, parent+"/"+e.Name())
			}
		}
	}
	return all
}

// A new package has a line in the table of README.md.
func TestReadme_namesEveryPackage(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range packages(t) {
		if !strings.Contains(string(b), "]("+name+")") {
			t.Errorf("README.md has no line for %s", name)
		}
	}
}
