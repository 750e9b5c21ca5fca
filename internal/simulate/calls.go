package simulate

import (
	"cmp"
	"context"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// calls are what the machine asks the store, and waits for.
type calls struct {
	held    bool // the schedule answers
	made    map[string]int
	arrived int
	waiting []*call
}

// call is one of them. The store carries it out at some time, and the answer arrives at a later one.
type call struct {
	name, of string
	number   int
	do       func()
	carried  bool
	lost     bool // the caller hears that the store is not available
	done     chan struct{}
}

// await makes a call. Without a schedule that holds it, it is answered at once.
func await[T any](ctx context.Context, s *Store, name, of string, do func() (T, error)) (T, error) {
	var (
		answer T
		err    error
	)
	c := &call{name: name, of: of, done: make(chan struct{})}
	c.do = func() {
		answer, err = do()
		c.carried = true
	}
	s.mu.Lock()
	s.calls.made[name]++
	if !s.endless() && !s.calls.held {
		c.do()
		s.mu.Unlock()
		return answer, err
	}
	s.calls.arrived++
	c.number = s.calls.arrived
	s.calls.waiting = append(s.calls.waiting, c)
	s.mu.Unlock()
	var none T
	select {
	case <-c.done:
		if c.lost {
			return none, bus.ErrStoreUnavailable
		}
		return answer, err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls.waiting = slices.DeleteFunc(s.calls.waiting, func(o *call) bool { return o == c })
		return none, bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// Hold lets calls wait until the schedule answers them, or ends that: then all that wait are answered.
func (s *Store) Hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.held = held
	if held {
		return
	}
	s.sorted()
	for _, c := range s.calls.waiting {
		s.answer(c)
	}
	s.calls.waiting = nil
}

func (s *Store) answer(c *call) {
	if !c.carried {
		c.do()
	}
	s.tell("answered: %s of %s", c.name, c.of)
	close(c.done)
}

// sorted puts the calls that wait in an order that the scheduler of Go has no part in.
func (s *Store) sorted() {
	slices.SortFunc(s.calls.waiting, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.of, b.of), cmp.Compare(a.number, b.number))
	})
}

// pick takes out one of the calls that wait; nil when there is none.
func (s *Store) pick(which int, out bool) *call {
	s.sorted()
	n := len(s.calls.waiting)
	if n == 0 {
		return nil
	}
	c := s.calls.waiting[which%n]
	if out {
		s.calls.waiting = slices.Delete(s.calls.waiting, which%n, which%n+1)
	}
	return c
}

// Answer carries one of the calls that wait out, unless that was done, and answers it.
func (s *Store) Answer(which int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.pick(which, true); c != nil {
		s.answer(c)
	}
}

// Carry carries one of the calls that wait out. Its answer comes later, and is old by then.
func (s *Store) Carry(which int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.pick(which, false); c != nil && !c.carried {
		s.tell("carried out, and not answered yet: %s of %s", c.name, c.of)
		c.do()
	}
}

// Refuse answers one of the calls that wait that the store is not available. It may have been carried out.
func (s *Store) Refuse(which int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.pick(which, true); c != nil {
		s.tell("refused: %s of %s", c.name, c.of)
		c.lost = true
		close(c.done)
	}
}

// Made is how many calls there were to read a log, and to find out where logs end.
func (s *Store) Made() (reads, tops int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls.made["read"], s.calls.made["tops"]
}

// Endless says whether there were more calls than a schedule may need.
func (s *Store) Endless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endless()
}

// ticks is how often an hour of slow rounds may ask where logs end.
const ticks = 4000

func (s *Store) endless() bool {
	return s.cfg.Calls > 0 && (s.calls.made["read"] > s.cfg.Calls || s.calls.made["tops"] > s.cfg.Calls+ticks)
}
