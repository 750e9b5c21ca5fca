package simulate

import (
	"fmt"
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// Config tunes a Store.
type Config struct {
	// Length is how many messages a log keeps; 0 for all.
	Length int
	// Calls is how many reads a schedule may need; 0 for any number. After more of them no call is answered any more.
	Calls int
	// Story is told what happens, when it is set.
	Story func(string)
}

// Store is the simulated store. Its methods that are not of package bus are the schedule's, and are called while everything waits.
type Store struct {
	cfg Config

	mu        sync.Mutex
	logs      map[bus.Address]*record
	eras      map[bus.Address]int // how often a channel was deleted
	beginning int                 // how often everything was lost
	life      int                 // how often another server took over
	epochs    int
	sent      int
	destroyed map[string]bool // messages, by id
	feeds     []*feed
	calls     calls
}

// New returns an empty store, whose calls are answered at once and whose pushes wait.
func New(cfg Config) *Store {
	return &Store{cfg: cfg, logs: map[bus.Address]*record{}, eras: map[bus.Address]int{}, destroyed: map[string]bool{}, calls: calls{made: map[string]int{}}}
}

func (s *Store) tell(format string, args ...any) {
	if s.cfg.Story != nil {
		s.cfg.Story(fmt.Sprintf(format, args...))
	}
}

func (s *Store) log(a bus.Address) *record {
	r := s.logs[a]
	if r == nil {
		r = &record{}
		s.logs[a] = r
	}
	return r
}

// Top is where the log of an address ends.
func (s *Store) Top(a bus.Address) bus.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.top(a)
}

// Destroyed says whether a message was kept and is not any more.
func (s *Store) Destroyed(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.destroyed[id]
}

func (s *Store) newEpoch() string {
	s.epochs++
	return fmt.Sprint("e", s.epochs)
}

// start is the position of an address that nothing was published to.
func (s *Store) start(a bus.Address) bus.Position {
	return bus.Position{Epoch: bus.StartEpoch(fmt.Sprint("b", s.beginning, ".", s.eras[a]))}
}

// destroy notes that messages are not kept any more.
func (s *Store) destroy(list []*bus.Message) {
	for _, m := range list {
		s.destroyed[m.ID] = true
	}
}
