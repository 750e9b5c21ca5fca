package bus_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
)

// A gap tells what a reader missed that had come to where the gap begins. A reader that is not there yet has missed more, and the
// log has to be asked.
func TestLine_gapOfSomebodyFurther(t *testing.T) {
	at := func(epoch string, offset uint64) bus.Position { return bus.Position{Epoch: epoch, Offset: offset} }
	for name, c := range map[string]struct {
		from, to bus.Position
		want     bus.Standing
	}{
		"begins where the reader is":      {at("e1", 11), at("e2", 3), bus.Next},
		"begins before the reader":        {at("e1", 9), at("e2", 3), bus.Next},
		"begins beyond the reader":        {at("e1", 15), at("e2", 3), bus.Doubtful},
		"ends in the reader's epoch":      {at("e1", 11), at("e1", 20), bus.Next},
		"begins beyond, in its epoch":     {at("e1", 15), at("e1", 20), bus.Doubtful},
		"goes back to before the reader":  {at("e1", 15), at("e1", 10), bus.Doubtful},
		"goes back to behind the reader":  {at("e1", 15), at("e1", 12), bus.Had},
		"ends where the reader is":        {at("e1", 7), at("e1", 11), bus.Had},
		"begins in an epoch of no reader": {at("e0", 15), at("e2", 3), bus.Next},
	} {
		var line bus.Line
		line.Rest(at("e1", 11))
		if got := line.Take(c.from, c.to); got != c.want {
			t.Errorf("a gap that %s stands as %d, want %d", name, got, c.want)
		}
		if c.want != bus.Next && line.At() != at("e1", 11) {
			t.Errorf("a gap that %s moved the reader to %v", name, line.At())
		}
	}
}
