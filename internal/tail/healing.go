package tail

import (
	"sync"
	"time"
)

// healing is since when addresses have not been sure.
type healing struct {
	mu    sync.Mutex
	since map[*followed]time.Time
}

// set notes since when an address heals; the zero time that it does not.
func (h *healing) set(f *followed, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since.IsZero() {
		delete(h.since, f)
	} else {
		h.since[f] = since
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
