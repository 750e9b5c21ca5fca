package memory

import (
	"context"
	"strings"
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// census counts the channels that have a cell, by namespace.
type census struct {
	mu    sync.Mutex
	kept  map[string]int
	total int
}

// change counts a cell that was made, or dropped.
func (c *census) change(a bus.Address, by int) {
	if a.Kind() != bus.KindChannels {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make(map[string]int)
	}
	c.total += by
	name := a.Namespace()
	if n, ok := c.kept[name]; ok && n+by == 0 {
		delete(c.kept, name)
	} else if ok {
		c.kept[name] = n + by
	} else {
		c.kept[strings.Clone(name)] = by // the name may be a part of a whole frame
	}
}

// Count returns how many addresses of the space are kept, which the store knows by itself.
func (s *Store) Count(ctx context.Context, in bus.Space, _ []bus.Address) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, bus.ErrStoreUnavailable.Wrap(err)
	}
	s.census.mu.Lock()
	defer s.census.mu.Unlock()
	if in.Name != "" {
		return s.census.kept[in.Name], nil
	}
	n := s.census.total
	for _, name := range in.Others {
		n -= s.census.kept[name]
	}
	return n, nil
}

// Keeps says whether anything of an address is kept.
func (s *Store) Keeps(ctx context.Context, a bus.Address) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, bus.ErrStoreUnavailable.Wrap(err)
	}
	p := s.part(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cells[a] != nil, nil
}
