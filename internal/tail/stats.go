package tail

import (
	"sync"
	"time"
)

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
	s := Stats{Followed: t.Followed(), Held: t.hold.used.Load()}
	s.Healing, s.Oldest = t.healing.oldest()
	return s
}

// healing is since when topics have not been settled.
type healing struct {
	mu    sync.Mutex
	since map[*topic]time.Time
}

// set notes since when a topic heals; the zero time that it does not.
func (h *healing) set(tp *topic, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since.IsZero() {
		delete(h.since, tp)
	} else {
		h.since[tp] = since
	}
}

func (h *healing) oldest() (n int, age time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, since := range h.since {
		age = max(age, time.Since(since))
	}
	return len(h.since), age
}
