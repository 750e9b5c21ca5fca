package publish

import (
	"slices"
	"sync"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/presence"
)

// streams hands what the tail brings to the gRPC streams that follow an address.
type streams struct {
	draining chan struct{} // closed when the server shuts down

	gate    sync.Mutex // so that nobody enters after drain
	shut    bool
	readers sync.WaitGroup // the goroutines that receive from two-way streams
	crowds  *presence.Gatherer

	mu     sync.RWMutex
	groups map[bus.Address]map[*follower]bool
}

// newStreams returns streams that list who comes and goes up to so many members.
func newStreams(listed int) *streams {
	s := &streams{draining: make(chan struct{}), groups: make(map[bus.Address]map[*follower]bool)}
	s.crowds = presence.New(listed, s.crowd)
	return s
}

// drain ends all streams; nobody enters any more.
func (s *streams) drain() {
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.shut {
		s.shut = true
		close(s.draining)
	}
}

// spawn runs a goroutine that wait waits for; false when the server shuts down.
func (s *streams) spawn(f func()) bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.shut {
		s.readers.Go(f)
	}
	return !s.shut
}

// wait drains and waits for what was spawned.
func (s *streams) wait() {
	s.drain()
	s.readers.Wait()
}

// item is a message or a gap.
type item struct {
	m     *bus.Message
	gap   *bus.Gap
	crowd *publishv1.PresenceEvent // presence changes, made once for all streams
}

// span is what an item covers: a gap from one position to another, or a message, which has no from.
func (i item) span() (from, to bus.Position) {
	if i.m != nil {
		return bus.Position{}, i.m.Position
	}
	return i.gap.From, i.gap.To
}

// follower is one address of one stream: a bounded queue between the tail and the stream. When it is full, what comes
// is not kept; the stream reads it from the log, or tells a gap where there is none.
type follower struct {
	address bus.Address
	wake    chan<- struct{} // of the stream
	limit   int
	receipt string // of a message that is watched: only what is about it counts
	watches bool   // is told who comes and goes
	mark    string // where what is retained was read

	mu     sync.Mutex
	queue  []item
	bytes  int // of what is in the queue
	missed bool
	ended  bool // the channel was deleted; nothing follows
	marked bool // the mark has come
}

func (f *follower) put(i item) {
	f.mu.Lock()
	switch {
	case i.isMark():
		f.marked = f.marked || i.m.ID == f.mark
	case f.ended:
	case i.m != nil && i.m.Kind == bus.MessageDeleted:
		f.ended = true
	case f.missed || len(f.queue) >= f.limit || f.bytes+i.size() > queueBytes && len(f.queue) > 0:
		f.missed = true // and what follows comes behind it
	default:
		f.queue, f.bytes = append(f.queue, i), f.bytes+i.size()
	}
	f.mu.Unlock()
	f.awake()
}

// awake wakes the stream.
func (f *follower) awake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// wants says whether an item is for the follower.
func (f *follower) wants(i item) bool {
	if f.receipt != "" {
		return i.m != nil && i.m.ID == f.receipt
	}
	return i.m == nil || i.m.Kind != bus.MessageReceipt && (i.m.Kind != bus.MessagePresence || f.watches)
}

// isMark says whether the item is a mark.
func (i item) isMark() bool { return i.m != nil && i.m.Kind == bus.MessageMark }

// caughtUp says whether the mark has come, and whether the last message, if so, is among what waits.
func (f *follower) caughtUp(last bus.Last) (done, waits bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.marked, slices.ContainsFunc(f.queue, func(i item) bool { return last.Is(i.m) })
}

// empty says whether nothing has come yet.
func (f *follower) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue) == 0 && !f.missed
}

const (
	// queueBytes is how much may wait for a reader of a stream besides the number of messages.
	queueBytes = 512 << 10
	// takeBytes is how much of that is on its way to the reader at once.
	takeBytes = 64 << 10
)

// itemOverhead is what an item costs besides its data, about.
const itemOverhead = 256

// size is about how many bytes an item keeps.
func (i item) size() int {
	if i.m == nil {
		return itemOverhead
	}
	return itemOverhead + len(i.m.Data)
}

// take returns what waits, a part of it when that is much, and whether there was more than could wait. That is told with the
// last part.
func (f *follower) take() ([]item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, bytes := 0, 0
	for n < len(f.queue) && bytes < takeBytes {
		bytes += f.queue[n].size()
		n++
	}
	part := slices.Clone(f.queue[:n]) // a copy, so that the rest is not held when it has been dropped
	f.bytes -= bytes
	if f.queue = slices.Delete(f.queue, 0, n); len(f.queue) > 0 {
		return part, false
	}
	missed := f.missed
	f.queue, f.missed = nil, false
	return part, missed
}

// over says whether the channel was deleted and everything before that was taken.
func (f *follower) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended && len(f.queue) == 0 && !f.missed
}

// Deliver queues a message for every follower.
func (s *streams) Deliver(m *bus.Message) {
	if m.Kind == bus.MessagePresence {
		if s.watched(m.To) {
			s.crowds.Add(m)
		}
		return
	}
	s.crowds.Flush(m.To)
	s.spread(m.To, item{m: m})
}

// crowd queues who came and went.
func (s *streams) crowd(m *bus.Message) {
	if e := convert.PresenceEvent(m); e != nil {
		s.spread(m.To, item{m: m, crowd: e})
	}
}

// watched says whether anybody is told who comes to an address and who goes.
func (s *streams) watched(a bus.Address) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for f := range s.groups[a] {
		if f.watches {
			return true
		}
	}
	return false
}

// Gap queues a gap for every follower.
func (s *streams) Gap(g bus.Gap) { s.spread(g.Address, item{gap: &g}) }

func (s *streams) spread(a bus.Address, i item) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for f := range s.groups[a] {
		if f.wants(i) {
			f.put(i)
		}
	}
}

func (s *streams) attach(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups[f.address] == nil {
		s.groups[f.address] = make(map[*follower]bool)
	}
	s.groups[f.address][f] = true
}

func (s *streams) detach(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups[f.address], f)
	if len(s.groups[f.address]) == 0 {
		delete(s.groups, f.address)
	}
}
