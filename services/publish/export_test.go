package publish

import "github.com/trunkline/trunkline/internal/bus"

// Place is what a page token says; see PageToken.
type Place = cursor

// PageToken writes the token of a place.
func PageToken(p Place) string { return p.token() }

// Paging reads the size and the token of a page of a list.
func Paging(size int32, token, list string) (int, Place, error) {
	var bad bus.Invalid
	n, at := paging(&bad, size, token, list)
	return n, at, bad.Err()
}

// MergePatch returns an object after a merge patch.
func MergePatch(object, change []byte) ([]byte, error) { return mergePatch(object, change) }
