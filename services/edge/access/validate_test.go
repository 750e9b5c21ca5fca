package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/access"
)

// The longest tokens that there may be fit into calls whose size a gRPC server takes, however many ask at once.
func TestValidator_boundsTheBytesOfACall(t *testing.T) {
	longest := strings.Repeat("x", bus.MaxToken)
	sizes := access.Batches(slices.Repeat([]string{longest}, 256))
	if most := slices.Max(sizes); most > 1<<20 {
		t.Errorf("a call has %d bytes", most)
	}
	sum := 0
	for _, n := range sizes {
		sum += n
	}
	if sum != 256*bus.MaxToken {
		t.Errorf("%d bytes are asked about", sum)
	}
	if sizes := access.Batches(slices.Repeat([]string{"short"}, 256)); len(sizes) != 1 {
		t.Errorf("short tokens take %d calls", len(sizes))
	}
}
