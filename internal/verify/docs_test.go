package verify_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/verify"
)

// docs/operations.md has the promises that are looked at, in their order.
func TestDocs_havePromises(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	testkit.Check(t, err)
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z]+)` \\|").FindAllSubmatch(page, -1) {
		rows = append(rows, string(m[1]))
	}
	if !slices.Equal(rows, verify.IDs()) {
		t.Errorf("docs/operations.md has %v, want %v", rows, verify.IDs())
	}
}
