package testkit

import (
	"runtime"
	"strings"
	"testing"
)

const (
	// keepInput is how large an input is, keepTexts how many there are, and keepMost how many bytes may be left of all together.
	keepInput, keepTexts, keepMost = 1 << 20, 1000, 16 << 20
	// keepLook is after how many inputs the heap is looked at, so that a failing test takes little memory.
	keepLook = 50
)

// Input is 1 MiB that texts are cut out of: what a decoder hands on that does not copy.
type Input struct{ all strings.Builder }

// Cut returns a text as a part of the input.
func (in *Input) Cut(text string) string {
	from := in.all.Len()
	in.all.WriteString(text)
	return in.all.String()[from:]
}

// KeepsCopies fails when what is kept of large inputs keeps the inputs. It calls keep a thousand times, each with an input of its own.
// What is kept there belongs to owner.
func KeepsCopies(tb testing.TB, owner any, keep func(i int, in *Input)) {
	tb.Helper()
	before := heap()
	for i := range keepTexts {
		in := new(Input)
		in.all.Grow(keepInput)
		keep(i, in)
		if i%keepLook != keepLook-1 {
			continue
		}
		if kept := heap() - before; kept > keepMost {
			tb.Errorf("of %d inputs of 1 MiB %d bytes are kept", i+1, kept)
			break
		}
	}
	runtime.KeepAlive(owner)
}

// heap is what is reachable.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
