package edge

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// admission bounds how many connects are worked on at once, and tells those that it refuses when to come back: the more
// of them there were lately, the later, and each at another time.
type admission struct {
	limit int

	mu       sync.Mutex
	running  int
	pressure float64 // refusals, of which half is forgotten every pressureHalf
	at       time.Time
}

const (
	pressureHalf = 5 * time.Second
	// leastDelay and mostDelay bound what refused clients are spread over.
	leastDelay = time.Second
	mostDelay  = 30 * time.Second
)

func newAdmission(limit int) *admission { return &admission{limit: limit} }

// enter counts a connect, or refuses it. A nil error is undone by leave.
func (a *admission) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running >= a.limit {
		return a.refusal("edge.connects_in_progress")
	}
	a.running++
	return nil
}

func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
}

// refuse returns the refusal of a connect that would wait too long.
func (a *admission) refuse(rule string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal(rule)
}

// refusal notes one and says when to come back. The caller holds the lock.
func (a *admission) refusal(rule string) error {
	now := time.Now()
	a.pressure = a.pressure*math.Exp2(-float64(now.Sub(a.at))/float64(pressureHalf)) + 1
	a.at = now
	spread := time.Duration(float64(leastDelay) * (1 + a.pressure/float64(a.limit)))
	spread = min(spread, mostDelay)
	delay := leastDelay/2 + rand.N(spread) //nolint:gosec // jitter, not a secret
	return bus.ErrOverloaded.With("", map[string]string{"rule": rule}).Retry(delay)
}
