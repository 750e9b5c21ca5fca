package access

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// admission bounds how many connects are worked on at once. It tells those that it refuses when to come back: the more of
// them there were lately, the later, and each at another time.
type admission struct {
	limit int

	mu       sync.Mutex
	running  int
	pressure float64 // refusals, of which half is forgotten every pressureHalf
	at       time.Time
}

const (
	pressureHalf = 5 * time.Second
	// LeastDelay and mostDelay bound what refused clients are spread over.
	LeastDelay = time.Second
	mostDelay  = 30 * time.Second
)

// newAdmission returns the admission of so many connects at once.
func newAdmission(limit int) *admission { return &admission{limit: limit} }

// Enter counts a connect, or refuses it. A nil error is undone by Leave.
func (a *admission) Enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running >= a.limit {
		return a.refusal("edge.connects_in_progress")
	}
	a.running++
	return nil
}

// Leave undoes Enter.
func (a *admission) Leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
}

// Refuse returns the refusal of a connect that would wait too long.
func (a *admission) Refuse(rule string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal(rule)
}

// InProgress is how many connects are worked on.
func (a *admission) InProgress() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}

// refusal notes one and says when to come back. The caller holds the lock.
func (a *admission) refusal(rule string) error {
	now := time.Now()
	a.pressure = a.pressure*math.Exp2(-float64(now.Sub(a.at))/float64(pressureHalf)) + 1
	a.at = now
	spread := time.Duration(float64(LeastDelay) * (1 + a.pressure/float64(a.limit)))
	spread = min(spread, mostDelay)
	delay := LeastDelay/2 + rand.N(spread) //nolint:gosec // jitter, not a secret
	return bus.ErrOverloaded.With("", map[string]string{"rule": rule}).Retry(delay)
}
