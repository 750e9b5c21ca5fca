package rows_test

import (
	"slices"
	"testing"

	"github.com/trunkline/trunkline/faults/build"
	"github.com/trunkline/trunkline/faults/rows"
)

// The texts that a control replaces are there, and the row that it turns red exists.
func TestControls_fit(t *testing.T) {
	m, err := build.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rows.Controls() {
		if err := m.Fits(c.Changes...); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if !slices.ContainsFunc(rows.Table(), func(r rows.Row) bool { return r.ID == c.Row }) {
			t.Errorf("%s: there is no row %s", c.Name, c.Row)
		}
	}
}

func TestTable_namesEachRowOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows.Table() {
		if r.ID == "" || seen[r.ID] || r.Fault == "" || r.How == "" || r.Promises == "" || r.Inject == nil {
			t.Errorf("row %q is not complete, or not the only one of its name", r.ID)
		}
		seen[r.ID] = true
	}
}
