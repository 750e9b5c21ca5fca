package publish

// MergePatch returns an object after a merge patch.
func MergePatch(object, change []byte) ([]byte, error) { return mergePatch(object, change) }
