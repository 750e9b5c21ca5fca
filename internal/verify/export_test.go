package verify

// IDs are all promises that are looked at, in their order.
func IDs() (all []string) {
	for _, r := range rules(slowest) {
		all = append(all, r.id)
	}
	return all
}
