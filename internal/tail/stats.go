package tail

import "time"

// Stats says what a Tail is busy with.
type Stats struct {
	// Followed is how many addresses are followed.
	Followed int
	// Healing is how many of them may be missing something, and Oldest for how long the first of these has been.
	Healing int
	Oldest  time.Duration
	// Held is how many bytes wait for what is missing before them.
	Held int64
}

// Stats returns what is so now. It looks only at addresses that heal.
func (t *Tail) Stats() Stats {
	s := Stats{Followed: t.Followed(), Held: t.common.hold.used.Load()}
	s.Healing, s.Oldest = t.common.healing.oldest()
	return s
}
