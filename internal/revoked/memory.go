package revoked

import (
	"maps"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// memory is what was revoked lately, as far as it was heard. It outlives the store's own memory, and refuses tokens of those
// who are just connecting, without a question to the store. All methods may be called concurrently.
type memory struct {
	mu sync.RWMutex
	// known is since when tokens of subjects are refused, and older is what was heard before known was begun.
	known, older map[bus.Subject]time.Time
	began        time.Time // when known was begun
	newest       time.Time // the newest time that was heard, of whatever subject but a loss
	heard        time.Time // since when every revocation is here; zero before the first time
}

// memoryLimit is how many revocations known takes. Twice as many are remembered at most.
const memoryLimit = 50_000

// note remembers a revocation. A later time of the same subject wins.
func (m *memory) note(r bus.Revocation) {
	subject := bus.Subject{Kind: r.Kind, ID: r.ID}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Kind != bus.SubjectLost && r.Before.After(m.newest) {
		m.newest = r.Before
	}
	if !r.Before.After(m.before(subject)) {
		return
	}
	if m.known == nil || len(m.known) >= memoryLimit {
		m.turn(time.Now())
	}
	m.known[subject.Clone()] = r.Before
}

// turn makes room: what was heard before known was begun is forgotten. The caller holds the lock.
func (m *memory) turn(now time.Time) {
	if !m.heard.IsZero() && m.began.After(m.heard) {
		m.heard = m.began
	}
	m.known, m.older, m.began = make(map[bus.Subject]time.Time), m.known, now
}

// before returns since when tokens of a subject are refused. The caller holds the lock.
func (m *memory) before(subject bus.Subject) time.Time {
	if at, ok := m.known[subject]; ok {
		return at
	}
	return m.older[subject]
}

// refuses returns why an identity is refused; nil when nothing that is remembered refuses it.
func (m *memory) refuses(id *bus.Identity) *bus.Error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.known) == 0 {
		return nil
	}
	return id.Refused(m.before)
}

func (m *memory) newestHeard() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.newest
}

// begin notes that revocations are heard from now on.
func (m *memory) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = time.Now()
}

// interrupted notes that revocations may have been missed until now. It means nothing before the first one can be heard.
func (m *memory) interrupted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.heard.IsZero() {
		m.heard = time.Now()
	}
}

// missed says whether revocations since a time may have been missed. Before the first one can be heard the answer is no: whoever
// begins to listen asks about everybody.
func (m *memory) missed(since time.Time) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return since.Before(m.heard)
}

// complete says whether every revocation since a time is remembered. The time is by some node's clock.
func (m *memory) complete(since time.Time) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return !m.heard.IsZero() && since.After(m.heard.Add(ClockSkew))
}

// all returns everything that is remembered, but for losses.
func (m *memory) all() map[bus.Subject]time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make(map[bus.Subject]time.Time, len(m.known)+len(m.older))
	maps.Copy(all, m.older)
	maps.Copy(all, m.known) // which is the later time, where both have one
	delete(all, bus.Subject{Kind: bus.SubjectLost})
	return all
}
