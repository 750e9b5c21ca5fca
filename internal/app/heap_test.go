package app //nolint:testpackage // the rule for the heap is private

import "testing"

// A busy process with a small heap gets headroom; an idle one, and one with a large heap, Go's own rule.
func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name            string
		allocated, live uint64
		want            int
	}{
		{"nothing yet", 0, 0, 800},
		{"idle and small", 0, 8 * mib, 200},
		{"idle", mib, 40 * mib, 100},
		{"busy and small", 100 * mib, 10 * mib, 500},
		{"busy and tiny", 100 * mib, mib, 800},
		{"very busy", 1000 * mib, 32 * mib, 200},
		{"very busy and large", 1000 * mib, 500 * mib, 100},
	} {
		if got := gcPercent(c.allocated, c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Memory is given back once after each storm, when it has been quiet for a while.
func TestRest(t *testing.T) {
	const mib = 1 << 20
	var r quiet
	for i, c := range []struct {
		allocated, live uint64
		want            bool
	}{
		{mib, mib, false},
		{mib, mib, false},
		{mib, mib, false},
		{mib, mib, false}, // quiet from the start
		{100 * mib, 20 * mib, false},
		{5 * mib, 20 * mib, false},
		{mib, 20 * mib, false},
		{mib, 20 * mib, false},
		{mib, 20 * mib, true},
		{mib, 20 * mib, false},
		{100 * mib, 600 * mib, false},
		{0, 600 * mib, false},
		{0, 600 * mib, false},
		{0, 600 * mib, false}, // a large heap
		{0, 400 * mib, true},
		{0, 400 * mib, false},
	} {
		if got := r.comes(c.allocated, c.live); got != c.want {
			t.Errorf("second %d: %v, want %v", i, got, c.want)
		}
	}
}
