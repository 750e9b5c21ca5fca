package edge

import (
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// lane is changes of rosters that wait for the store, in order. Of one connection and address only the newest waits, so that
// who subscribes and unsubscribes in turns takes one place. The zero lane is empty, but for its channel.
type lane struct {
	wake chan struct{}

	mu    sync.Mutex
	queue []*change
	of    map[membership]*change // what is in the queue
}

// membership is the place of a connection in a roster.
type membership struct {
	address    bus.Address
	connection string
}

func (c *change) of() membership { return membership{c.address, c.connection} }

// laneLimit is how many changes may wait in a lane before nobody is let into a roster. Those who leave are let out: they
// were let in before.
const laneLimit = 1 << 14

// put adds a change, in the place of an older one of the same membership.
func (l *lane) put(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.of[c.of()]; old != nil {
		*old = c
		return
	}
	if l.of == nil {
		l.of = make(map[membership]*change)
	}
	l.of[c.of()] = &c
	l.queue = append(l.queue, &c)
}

// take returns the oldest change; false when there is none.
func (l *lane) take() (change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil
		return change{}, false
	}
	c := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	delete(l.of, c.of())
	return *c, true
}

// back returns a change that was taken, in front of the others, unless a newer one has come.
func (l *lane) back(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[c.of()] == nil {
		l.of[c.of()] = &c
		l.queue = append([]*change{&c}, l.queue...)
	}
}

func (l *lane) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
