package badinput_test

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

//go:embed testdata/catalogue.txt
var catalogue string

// families are how many numbers of wrong input each kind has, and how many of them nobody holds yet. The second may only fall.
var families = map[string]struct{ all, open int }{
	"wu": {54, 10}, "ws": {86, 15}, "wj": {51, 1}, "ht": {68, 4}, "gr": {60, 22}, "tk": {70, 7}, "ch": {60, 4}, "cf": {62, 28},
}

// Every number is in the list, and what the list names is there.
func TestCatalogue(t *testing.T) {
	held, files := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(catalogue) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.SplitN(strings.TrimRight(line, "\n"), " | ", 3)
		if len(part) == 2 { // without a file
			part = []string{part[0], "", strings.TrimPrefix(part[1], "| ")}
		}
		family, first, last := "", 0, 0
		if n, _ := fmt.Sscanf(part[0], "%s %d-%d", &family, &first, &last); n < 2 {
			t.Fatalf("no numbers: %s", line)
		}
		for i := first; i <= max(first, last); i++ {
			held[fmt.Sprintf("%s-%03d", family, i)] = true
		}
		name, text := strings.TrimSpace(part[1]), part[2]
		if name == "" {
			continue
		}
		if files[name] == "" {
			b, err := os.ReadFile(name)
			testkit.Check(t, err)
			files[name] = string(b)
		}
		if !strings.Contains(files[name], text) {
			t.Errorf("%s has no %q, which %s names", name, text, part[0])
		}
	}
	for family, count := range families {
		var missing []string
		for i := 1; i <= count.all; i++ {
			if id := fmt.Sprintf("%s-%03d", family, i); !held[id] {
				missing = append(missing, id)
			}
		}
		if len(missing) != count.open {
			t.Errorf("%d are not held, and %d are known not to be: %v", len(missing), count.open, missing)
		}
	}
}
