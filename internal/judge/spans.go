package judge

import "slices"

// spans is a set of numbers that mostly follow each other.
type spans []span

type span struct{ from, to uint64 } // both are in it

// compare says whether a span is before a number, behind it, or has it.
func (x span) compare(n uint64) int {
	switch {
	case x.to < n:
		return -1
	case x.from > n:
		return 1
	}
	return 0
}

// add adds a number; false when it was there.
func (s *spans) add(n uint64) bool {
	i, found := slices.BinarySearchFunc(*s, n, span.compare)
	if found {
		return false
	}
	left := i > 0 && (*s)[i-1].to+1 == n
	right := i < len(*s) && (*s)[i].from == n+1
	switch {
	case left && right:
		(*s)[i-1].to = (*s)[i].to
		*s = slices.Delete(*s, i, i+1)
	case left:
		(*s)[i-1].to = n
	case right:
		(*s)[i].from = n
	default:
		*s = slices.Insert(*s, i, span{n, n})
	}
	return true
}

// has says whether a number is in the set.
func (s *spans) has(n uint64) bool {
	if s == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(*s, n, span.compare)
	return found
}
