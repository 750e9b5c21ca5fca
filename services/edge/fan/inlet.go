package fan

import (
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// inlet is what has come for a shard while it writes. The feed never waits for a shard, so this has a bound. Of an address
// that finds it full, nothing is kept until the shard has come so far. The shard then reads on from the log, or tells a gap
// where there is none.
type inlet struct {
	parcels, bytes int // the bounds

	mu     sync.Mutex
	list   []*parcel
	filled int // bytes of the list
	lapsed map[bus.Address]*lapse
}

// lapse is what was not kept of one address: everything from some place on.
type lapse struct {
	from, to bus.Position // from is where the log is to be read on; zero where it does not have it
	ended    bool         // the channel was deleted, at last
	marks    []string
}

// put takes a parcel, and says whether it is the first of a turn.
func (in *inlet) put(p *parcel) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	first, size := len(in.list)+len(in.lapsed) == 0, p.size()
	l := in.lapsed[p.address()]
	// Once something of an address is left out, so is all that follows: it would come in front of what is read.
	if l == nil && len(in.list) < in.parcels && (in.filled+size <= in.bytes || len(in.list) == 0) {
		in.list = append(in.list, p)
		in.filled += size
		return first
	}
	if l == nil {
		l = &lapse{}
		if in.lapsed == nil {
			in.lapsed = make(map[bus.Address]*lapse)
		}
		in.lapsed[p.address()] = l
	}
	l.note(p)
	return first
}

// note notes a parcel that is not kept.
func (l *lapse) note(p *parcel) {
	switch {
	case p.isMark():
		l.marks = append(l.marks, p.m.ID)
		return
	case l.ended:
		return // of another channel of the name
	case p.deletes():
		l.ended = true
		return
	}
	if l.from.IsZero() {
		l.from, _ = before([]*parcel{p})
	}
	if at := p.position(); !at.IsZero() {
		l.to = at
	}
}

// take empties the inlet; spare collects what comes next.
func (in *inlet) take(spare []*parcel) ([]*parcel, map[bus.Address]*lapse) {
	in.mu.Lock()
	defer in.mu.Unlock()
	list, lapsed := in.list, in.lapsed
	in.list, in.lapsed, in.filled = spare[:0], nil, 0
	return list, lapsed
}

// waiting returns what is in the inlet.
func (in *inlet) waiting() (parcels, bytes int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.list), in.filled
}

func (in *inlet) empty() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.list)+len(in.lapsed) == 0
}
