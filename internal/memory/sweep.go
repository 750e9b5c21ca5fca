package memory

import (
	"container/heap"
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// sweepEvery is how often a part of the store is looked through for what has ended. All of it takes parts times as long.
const sweepEvery = 100 * time.Millisecond

// Run frees what has ended, until ctx ends. Without it only what is used again is freed.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sweep(turn % parts)
		}
	}
}

// sweep looks through one part of the addresses, and for whatever else has ended.
func (s *Store) sweep(turn int) {
	now := s.now()
	p := &s.parts[turn]
	p.mu.Lock()
	for a, c := range p.cells {
		if c.inbox != nil {
			c.inbox.sweep(now)
		}
		if c.idle(now) {
			s.drop(p, a, c)
		} else {
			s.counted(c)
		}
	}
	p.mu.Unlock()
	s.meta.mu.Lock()
	s.expire(now, atATick)
	s.meta.mu.Unlock()
	if turn == 0 {
		s.values.sweep(s, now)
	}
}

// atATick and atACall are how many things that have ended are freed together, under one lock.
const (
	atATick = 4096
	atACall = 8
)

// expire frees tokens, families and revocations that have ended, a few of each. The caller holds the lock of the meta.
func (s *Store) expire(now time.Time, most int) {
	m := &s.meta
	m.tokenEnds.pop(now, most, func(id string) time.Time {
		t, ok := m.tokens[id]
		if ok && now.After(t.until) {
			s.budget.used.Add(int64(-sizeOfToken(id, t)))
			delete(m.tokens, id)
		}
		return t.until
	})
	m.familyEnds.pop(now, most, func(id string) time.Time {
		f := m.families[id]
		if f == nil {
			return time.Time{}
		}
		if now.After(f.until) {
			s.budget.used.Add(int64(-sizeOfFamily(id, f)))
			delete(m.families, id)
		}
		return f.until
	})
	m.revokedEnds.pop(now, most, func(subject bus.Subject) time.Time {
		r, ok := m.revoked[subject]
		if ok && now.After(r.until) {
			s.budget.used.Add(int64(-revocationCost - len(subject.ID)))
			delete(m.revoked, subject)
		}
		return r.until
	})
}

// ends is what ends, in the order of time. Something may end later than it is listed for: then it is listed again.
type ends[K comparable] struct{ list endHeap[K] }

type end[K comparable] struct {
	key K
	at  time.Time
}

// add lists something.
func (e *ends[K]) add(key K, at time.Time) { heap.Push(&e.list, end[K]{key, at}) }

// pop calls free with what is listed for before now, at most so often. It returns when that really ends.
func (e *ends[K]) pop(now time.Time, most int, free func(K) time.Time) {
	for ; most > 0 && len(e.list) > 0 && now.After(e.list[0].at); most-- {
		key := e.list[0].key
		if at := free(key); now.After(at) {
			heap.Pop(&e.list)
		} else {
			e.list[0].at = at
			heap.Fix(&e.list, 0)
		}
	}
}

// endHeap is a heap.
type endHeap[K comparable] []end[K]

func (h endHeap[K]) Len() int           { return len(h) }
func (h endHeap[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h endHeap[K]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface.
func (h *endHeap[K]) Push(x any) {
	e, _ := x.(end[K])
	*h = append(*h, e)
}

// Pop is heap.Interface.
func (h *endHeap[K]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = end[K]{}
	*h = (*h)[:last]
	return e
}
