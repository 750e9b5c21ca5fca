package load

import (
	"math/bits"
	"time"
)

// Hist counts durations in buckets that are 1/16 of their value wide. The zero value is empty; it is not for concurrent use.
type Hist struct {
	counts [64 * 16]uint64
	n      uint64
}

// Add counts one duration.
func (h *Hist) Add(ns int64) {
	h.counts[bucket(uint64(max(ns, 0)))]++ //nolint:gosec // not negative
	h.n++
}

func bucket(v uint64) int {
	if v < 16 {
		return int(v) //nolint:gosec // small
	}
	e := bits.Len64(v) - 5
	return (e+1)*16 + int(v>>e&15) //nolint:gosec // small
}

// Merge adds what o counted.
func (h *Hist) Merge(o *Hist) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// Count is how many were added.
func (h *Hist) Count() uint64 { return h.n }

// Quantile is the duration that a share q of all does not exceed, 0 when there is none.
func (h *Hist) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	left := uint64(q * float64(h.n))
	for i, c := range h.counts {
		if c > left {
			return upper(i)
		}
		left -= c
	}
	return upper(len(h.counts) - 1)
}

// upper is the middle of a bucket.
func upper(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	e := i/16 - 1
	low := int64(16+i%16) << e
	return time.Duration(low + int64(1)<<e/2)
}
