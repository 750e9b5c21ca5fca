package fan

import (
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// A client that reads more slowly than it is sent to falls behind in the addresses that find its backlog full. What it
// then gets is the namespace's choice, and it is told a gap where that means that messages are missing.

// lag is what a subscription that is behind still has to be given. The shard's lock guards it.
type lag struct {
	queue   []*parcel // what is kept, oldest first; nil where a newer one took the place, and where the log has it
	keys    map[string]int
	bytes   int
	skipped bus.Gap // what was dropped
	lossy   bool    // something was
}

// lagLimit is how many messages of one address are kept for a client that is behind.
const lagLimit = 1024

// newLag returns a lag that keeps messages.
func newLag() *lag { return &lag{keys: make(map[string]int)} }

// pile keeps parcels of an address, the newest ones; with the name of an attribute, the newest of each value that it has.
func (l *lag) pile(a bus.Address, due []*parcel, limit int, attribute string) {
	for _, p := range due {
		if p.m != nil && attribute != "" {
			if key, ok := p.m.Attributes[attribute]; ok {
				if i, old := l.keys[key]; old && l.queue[i] != nil {
					l.drop(i, a)
				}
				l.keys[key] = len(l.queue)
			}
		}
		l.queue = append(l.queue, p)
		l.bytes += p.size()
	}
	for i := 0; i < len(l.queue) && (l.bytes > limit || len(l.queue)-i > lagLimit); i++ {
		if l.queue[i] != nil && i < len(l.queue)-1 { // the newest always stays
			l.drop(i, a)
		}
	}
	l.compact()
}

// drop leaves one parcel out and notes it for the gap.
func (l *lag) drop(i int, a bus.Address) {
	p := l.queue[i]
	l.queue[i] = nil
	l.bytes -= p.size()
	from, to := bus.Position{}, bus.Position{}
	switch {
	case p.gap != nil:
		from, to = p.gap.From, p.gap.To
	case !p.m.Position.IsZero():
		to = p.m.Position
		from = bus.Position{Epoch: to.Epoch, Offset: to.Offset - 1}
	}
	// One gap tells of all that is dropped, so it begins at the first and ends at the last.
	if !l.lossy || l.skipped.From.IsZero() {
		l.skipped.From = from
	}
	l.skipped.Address, l.skipped.To, l.skipped.Reason = a, to, bus.GapSlow
	l.lossy = true
}

// compact forgets the holes once they are most of the queue.
func (l *lag) compact() {
	if len(l.queue) < 2*lagLimit {
		return
	}
	l.queue = slices.DeleteFunc(l.queue, func(p *parcel) bool { return p == nil })
	clear(l.keys) // older ones are not found any more: two of a key may stay, never none
}

// unwatch leaves out who came and went, of which no gap is told.
func (l *lag) unwatch() {
	for i, p := range l.queue {
		if p != nil && p.presence() {
			l.queue[i] = nil
			l.bytes -= p.size()
		}
	}
}

// lapse notes what the shard did not keep.
func (l *lag) lapse(a bus.Address, missed *lapse) {
	if !l.lossy {
		l.skipped = bus.Gap{From: missed.from}
	}
	l.lossy = true
	l.skipped.Address, l.skipped.To, l.skipped.Reason = a, missed.to, bus.GapSlow
}

// due is what is to be given now.
func (l *lag) due() []*parcel {
	return slices.DeleteFunc(slices.Clone(l.queue), func(p *parcel) bool { return p == nil })
}
