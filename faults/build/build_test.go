package build_test

import (
	"errors"
	"testing"

	"github.com/trunkline/trunkline/faults/build"
)

func TestMaker_Fits(t *testing.T) {
	m, err := build.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change build.Change
		fits   bool
	}{
		{"once", build.Change{File: "cmd/trunkline/main.go", Old: "package main", New: "package main"}, true},
		{"never", build.Change{File: "cmd/trunkline/main.go", Old: "no such text", New: ""}, false},
		{"often", build.Change{File: "cmd/trunkline/main.go", Old: "e", New: ""}, false},
		{"no file", build.Change{File: "cmd/none.go", Old: "e", New: ""}, false},
	} {
		if err := m.Fits(test.change); (err == nil) != test.fits || err != nil && !errors.Is(err, build.ErrDoesNotFit) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
