package behind

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// lane is changes of rosters that wait for the store, in order. Of one connection and address only the newest waits, so that
// a client that subscribes and unsubscribes in turns takes one place.
type lane struct {
	store   bus.Roster
	timeout time.Duration
	grace   time.Duration
	log     *slog.Logger
	overdue chan<- struct{} // told when the grace of a lost connection is over already
	changes queue[*change]
	worker  worker

	mu sync.Mutex
	of map[membership]*change // what is in the queue; guards what they point to
}

// change is a connection that joins an address or leaves it.
type change struct {
	address    bus.Address
	member     bus.Member // joins when set
	connection string
	lost       time.Time // when the connection broke; zero for one that leaves
}

// membership is the place of a connection in a roster.
type membership struct {
	address    bus.Address
	connection string
}

const (
	// laneLimit is how many changes may wait in a lane before nobody is let into a roster. Those who leave are let out: they
	// were let in before.
	laneLimit = 1 << 14
	// laneRest is how long a lane rests after the store refused a change.
	laneRest = 250 * time.Millisecond
	// laneFlush is how long what is left at the end may take.
	laneFlush = time.Second
)

func newLane(store bus.Roster, cfg Config, overdue chan<- struct{}) *lane {
	l := &lane{
		store: store, timeout: cfg.CallTimeout, grace: cfg.LostGrace, log: cfg.Logger, overdue: overdue,
		changes: queue[*change]{wake: make(chan struct{}, 1)}, of: make(map[membership]*change),
	}
	l.worker = worker{wake: l.changes.wake, step: l.apply, rest: laneRest, last: laneFlush}
	return l
}

func (c *change) membership() membership { return membership{c.address, c.connection} }

// put adds a change, in the place of an older one of the same membership.
func (l *lane) put(c change) {
	c.address, c.member, c.connection = c.address.Clone(), c.member.Clone(), strings.Clone(c.connection)
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.of[c.membership()]; old != nil {
		*old = c
		return
	}
	l.of[c.membership()] = &c
	l.changes.force(&c)
}

// apply applies the oldest change.
func (l *lane) apply(ctx context.Context) (bool, error) {
	batch := l.changes.take(1)
	if len(batch) == 0 {
		return false, nil
	}
	c := l.taken(batch[0])
	err := l.change(ctx, c)
	switch {
	case err == nil:
		return true, nil
	// It can never be taken, and those behind it are of other addresses.
	case errors.Is(err, bus.ErrStoredForeign):
		l.log.Warn("cannot change a roster; its key in the store is not ours", "address", c.address.String())
		return true, nil
	}
	l.log.Warn("cannot change a roster; it is tried again", "address", c.address.String(), "error", err.Error())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[c.membership()] == nil { // otherwise a newer one has come, which is all that counts
		l.of[c.membership()] = &c
		l.changes.back([]*change{&c})
	}
	return true, err
}

// taken returns what a change of the queue says. From now on a newer one of its membership takes a place of its own.
func (l *lane) taken(c *change) change {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, c.membership())
	return *c
}

// change applies one change; it may be repeated without harm.
func (l *lane) change(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	switch {
	case c.member.Connection != "":
		return l.store.Join(ctx, c.address, c.member)
	case !c.lost.IsZero():
		err := l.store.Lose(ctx, c.address, c.connection, c.lost, l.grace)
		if err == nil && time.Since(c.lost) >= l.grace {
			select {
			case l.overdue <- struct{}{}:
			default: // the reaper is about to look
			}
		}
		return err
	}
	return l.store.Leave(ctx, c.address, c.connection)
}
