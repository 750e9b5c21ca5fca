package memory

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/internal/bus"
)

// feed is one set of subscriptions: a bounded queue between the publishers and the receiver.
type feed struct {
	store   *Store
	running atomic.Bool
	wake    chan struct{}

	mu    sync.Mutex
	queue []*bus.Message
	lost  map[bus.Address]bool
}

var _ bus.Feed = (*feed)(nil)

// NewFeed returns a feed without subscriptions.
func (s *Store) NewFeed() bus.Feed {
	return &feed{store: s, wake: make(chan struct{}, 1), lost: make(map[bus.Address]bool)}
}

// Subscribe adds addresses; what is published from then on waits for Run.
func (f *feed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	for _, a := range addresses {
		p := f.store.part(a)
		p.mu.Lock()
		c := f.store.cell(p, a)
		if !c.has(f) {
			// A new slice, because a publish may be reading the old one.
			c.feeds = append(slices.Clip(c.feeds), f)
		}
		p.mu.Unlock()
	}
	return nil
}

func (c *cell) has(f *feed) bool {
	return slices.Contains(c.feeds, f)
}

// Unsubscribe removes addresses.
func (f *feed) Unsubscribe(addresses ...bus.Address) {
	now := f.store.now()
	for _, a := range addresses {
		p := f.store.part(a)
		p.mu.Lock()
		if c := p.cells[a]; c != nil {
			var rest []*feed
			for _, other := range c.feeds {
				if other != f {
					rest = append(rest, other)
				}
			}
			c.feeds = rest
			if c.used.IsZero() && len(rest) == 0 || c.idle(now) { // nothing was ever published or read, or nobody needs it
				f.store.drop(p, a, c)
			} else {
				f.store.counted(c)
			}
		}
		p.mu.Unlock()
	}
}

// Retained returns the last message of an address, and queues the mark behind what was published before.
func (f *feed) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	if err := ctx.Err(); err != nil {
		return bus.Last{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	p := f.store.part(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	var last bus.Last
	if c := p.cells[a]; c != nil {
		last.Message = c.lastAt(f.store.now())
	}
	f.put(&bus.Message{ID: mark, To: a, Kind: bus.MessageMark})
	return last, nil
}

// put queues a message. It never waits: when the receiver is too far behind, the message is
// dropped and the address counts as interrupted.
func (f *feed) put(m *bus.Message) {
	f.mu.Lock()
	first := len(f.queue) == 0
	if len(f.queue) >= f.store.cfg.FeedQueue {
		f.lost[m.To] = true
	} else {
		f.queue = append(f.queue, m)
	}
	f.mu.Unlock()
	if first {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// Run hands messages to the receiver until ctx ends.
func (f *feed) Run(ctx context.Context, r bus.Receiver) error {
	f.running.Store(true)
	defer f.running.Store(false)
	var spare []*bus.Message
	for {
		f.mu.Lock()
		queue, lost := f.queue, f.lost
		f.queue = spare[:0]
		if len(lost) > 0 {
			f.lost = make(map[bus.Address]bool)
		}
		f.mu.Unlock()
		for _, m := range queue {
			r.Deliver(m)
		}
		if len(lost) > 0 { // when the queue was full, so after all of it
			addresses := make([]bus.Address, 0, len(lost))
			for a := range lost {
				addresses = append(addresses, a)
			}
			r.Interrupted(addresses)
		}
		clear(queue)
		spare = queue
		if len(queue) > 0 {
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// Ready returns nil while Run runs: there is nothing between publisher and receiver that could break.
func (f *feed) Ready() error {
	if !f.running.Load() {
		return bus.ErrStoreUnavailable.With("the feed is not running", nil)
	}
	return nil
}
