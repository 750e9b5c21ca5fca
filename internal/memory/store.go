// Package memory is the embedded store: one process, nothing to install. Everything in it is lost when the process ends.
// Positions of an earlier process then belong to another epoch, and subscribers that resume are told a gap.
package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// Config tunes a Store. The zero value means the defaults.
type Config struct {
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// FeedQueue is how many messages may wait for a feed's receiver; 65,536 by default. What is beyond is
	// dropped and the receiver told by Interrupted.
	FeedQueue int
	// Keys is how many idempotency keys of one publisher an address remembers; 10,000 by default. One more is refused with
	// ErrStorageFull until the first ends.
	Keys int
	// Events is how the log of events is kept; without it nothing is told.
	Events bus.Retention
	// Limit is how many bytes are kept at most; 0 for no limit. Beyond it what would be kept is refused with ErrStorageFull.
	Limit int64
	// Metrics gets the metrics; nil for nobody.
	Metrics prometheus.Registerer
}

// Store is a bus.Store in memory. Run frees what has ended; it starts no goroutine by itself.
type Store struct {
	cfg     Config
	now     func() time.Time
	made    time.Time
	seed    maphash.Seed
	budget  budget
	parts   [parts]part
	meta    meta
	rosters rosters
	due     dueList
	values  values
	telling telling
	lives   lives
	cursors cursors
	census  census
}

var _ bus.Store = (*Store)(nil)

// parts is how many locks the addresses are spread over.
const parts = 64

type part struct {
	mu    sync.Mutex
	cells map[bus.Address]*cell
}

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.FeedQueue <= 0 {
		cfg.FeedQueue = 1 << 16
	}
	if cfg.Keys <= 0 {
		cfg.Keys = 10_000
	}
	s := &Store{cfg: cfg, now: cfg.Now, seed: maphash.MakeSeed()}
	s.made = s.now().Truncate(time.Millisecond)
	for i := range s.parts {
		s.parts[i].cells = make(map[bus.Address]*cell)
	}
	s.budget.limit = cfg.Limit
	s.budget.register(cfg.Metrics)
	s.meta.init()
	s.rosters.init()
	return s
}

// Close does nothing: there is nothing to keep.
func (s *Store) Close() error { return nil }

// Now returns the store's time.
func (s *Store) Now() time.Time { return s.now() }

// Ping returns nil unless the store is full: it is where the caller is.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.budget.full()
}

func (s *Store) part(a bus.Address) *part {
	return &s.parts[maphash.String(s.seed, a.String())%parts]
}

// cell returns the address's cell, making it when there is none. The caller holds the part's lock.
func (s *Store) cell(p *part, a bus.Address) *cell {
	c := p.cells[a]
	if c == nil {
		c = &cell{epoch: bus.NewEpoch()}
		a = a.Clone()
		p.cells[a] = c
		s.census.change(a, 1)
		s.counted(c)
	}
	return c
}

// sweepSome forgets a few cells that nobody needs any more. Each call looks at a fixed number, which spreads the cost of cleaning
// over the publishes that make it necessary. The caller holds the lock.
func (s *Store) sweepSome(p *part, now time.Time) {
	const some = 2
	seen := 0
	for a, c := range p.cells { // in an order that Go makes random
		if c.idle(now) {
			s.drop(p, a, c)
		} else {
			s.counted(c)
		}
		if seen++; seen >= some {
			return
		}
	}
}
