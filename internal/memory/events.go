package memory

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// telling is the events that were noted under the lock of the rosters and are not in the log yet, in order.
type telling struct {
	mu      sync.Mutex // held while they are written, so that they stay in order
	pending []bus.Event
}

// note notes an event of an address that is not ours alone. The caller holds the rosters' lock.
func (s *Store) note(kind bus.EventKind, to bus.Address, at time.Time, reason string) {
	if !s.cfg.Events.Durable() || to.Kind() == bus.KindSystem {
		return
	}
	s.rosters.untold = append(s.rosters.untold, bus.Event{
		ID: bus.EventID(uuid.NewString()), Kind: kind, Millis: at.UnixMilli(), Address: to.String(), Reason: reason,
	})
}

// tell writes what was noted. The caller holds no lock.
func (s *Store) tell() error {
	if !s.cfg.Events.Durable() {
		return nil
	}
	s.telling.mu.Lock()
	defer s.telling.mu.Unlock()
	s.rosters.mu.Lock()
	s.telling.pending = append(s.telling.pending, s.rosters.untold...)
	s.rosters.untold = nil
	s.rosters.mu.Unlock()
	for len(s.telling.pending) > 0 {
		p := s.telling.pending[0].Publication(s.cfg.Events)
		if _, err := s.publish(&p); err != nil {
			return err
		}
		s.telling.pending = s.telling.pending[1:]
	}
	return nil
}

// lives are the processes whose connections are remembered.
type lives struct {
	mu   sync.Mutex
	runs map[string]*life
}

type life struct {
	heard       time.Time
	connections map[string]bus.Connection
}

// run returns one life of a process, which is heard of now. The caller holds the lock.
func (l *lives) run(name string, now time.Time) *life {
	if l.runs == nil {
		l.runs = make(map[string]*life)
	}
	r := l.runs[name]
	if r == nil {
		r = &life{connections: make(map[string]bus.Connection)}
		l.runs[strings.Clone(name)] = r
	}
	r.heard = now
	return r
}

// Opened remembers connections.
func (s *Store) Opened(_ context.Context, run string, connections []bus.Connection) error {
	s.lives.mu.Lock()
	defer s.lives.mu.Unlock()
	r := s.lives.run(run, s.now())
	for _, c := range connections {
		c = c.Clone()
		r.connections[c.ID] = c
	}
	return nil
}

// Ended forgets connections.
func (s *Store) Ended(_ context.Context, run string, ids []string) error {
	s.lives.mu.Lock()
	defer s.lives.mu.Unlock()
	if r := s.lives.runs[run]; r != nil {
		for _, id := range ids {
			delete(r.connections, id)
		}
	}
	return nil
}

// Alive says that a process is alive.
func (s *Store) Alive(_ context.Context, run string) (int, error) {
	s.lives.mu.Lock()
	defer s.lives.mu.Unlock()
	return len(s.lives.run(run, s.now()).connections), nil
}

// silentRuns returns the processes that were not heard of for so long.
func (l *lives) silentRuns(now time.Time, silent time.Duration) map[string]*life {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := make(map[string]*life)
	for name, r := range l.runs {
		if now.Sub(r.heard) > silent {
			dead[name] = r
			delete(l.runs, name)
		}
	}
	return dead
}

// reapRuns tells of the connections of dead processes.
func (s *Store) reapRuns(silent time.Duration) error {
	for name, r := range s.lives.silentRuns(s.now(), silent) {
		for id, c := range r.connections {
			p := c.Disconnected(r.heard, bus.LeftNode).Publication(s.cfg.Events)
			if _, err := s.publish(&p); err != nil {
				s.lives.mu.Lock()
				s.lives.runs[name] = r // what is left goes with the next look
				s.lives.mu.Unlock()
				return err
			}
			delete(r.connections, id)
		}
	}
	return nil
}
