package docs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/judge"
)

// What the program that does faults holds the system to is what the pages promise.
func TestReliability_boundsAreThePromises(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	promises, page := read("guarantees.md"), read("reliability.md")
	for _, b := range judge.Bounds() {
		seconds := fmt.Sprintf("%g s", b.Most.Seconds())
		if !strings.Contains(page, fmt.Sprintf("| %s | %s |\n", b.Name, seconds)) {
			t.Errorf("reliability.md does not say %s for %s", seconds, b.Name)
		}
		_, promised, ok := strings.Cut(promises, "\n| "+b.Says)
		if !ok {
			t.Errorf("guarantees.md has no row that begins with %q", b.Says)
			continue
		}
		cell, _, _ := strings.Cut(promised, "\n")
		if fields := strings.Split(cell, "|"); len(fields) < 3 || !strings.HasPrefix(strings.TrimSpace(fields[1]), seconds) {
			t.Errorf("guarantees.md promises %q for %q, and the program has %s", cell, b.Says, seconds)
		}
	}
	table, _, _ := strings.Cut(page, "<!-- end of bounds -->")
	_, table, _ = strings.Cut(table, "<!-- bounds -->")
	if got := strings.Count(table, "\n") - 3; got != len(judge.Bounds()) {
		t.Errorf("reliability.md has %d bounds, and the program %d", got, len(judge.Bounds()))
	}
}
