package simulate

import (
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// record is the log of one address, as a store has it. Offsets are dense. The log outlives a change of its epoch, unless it is
// emptied.
type record struct {
	epoch   string // of what is appended next; empty while there is no log
	life    int    // of the server that appended last
	past    []past // the newest first
	top     uint64
	entries []*bus.Message
}

// past is an epoch that has ended, and the offset that it reached.
type past struct {
	epoch string
	last  uint64
}

// of is the epoch in which an offset was published.
func (r *record) of(offset uint64) string {
	epoch := r.epoch
	for _, p := range r.past {
		if offset > p.last {
			break
		}
		epoch = p.epoch
	}
	return epoch
}

func (r *record) position(offset uint64) bus.Position {
	return bus.Position{Epoch: r.of(offset), Offset: offset}
}

// first is the offset of the oldest entry, or the next one that there will be.
func (r *record) first() uint64 { return r.top + 1 - uint64(len(r.entries)) }

// since is what a store answers to Log.Since, in the model's words.
func (r *record) since(start, from bus.Position, limit int) (page bus.Page, gap bool) {
	if r.epoch == "" {
		page.Top, page.Next = start, start
		return page, from.Epoch != "" && from != start
	}
	fork, known := r.top, true
	switch {
	case from.Epoch == "", from.Epoch == r.epoch:
	case from.IsStart():
		known = from.Epoch == start.Epoch
	default:
		i := slices.IndexFunc(r.past, func(p past) bool { return p.epoch == from.Epoch })
		if known = i >= 0; known {
			fork = r.past[i].last
			page.Forked = r.top > fork
		}
	}
	at := from.Offset
	switch {
	case from.Epoch == "":
		at = 0
	case !known || at+1 < r.first():
		gap, at = true, 0
	case at > fork:
		gap, at = true, fork
	case page.Forked && at == fork:
		gap, page.Unproved = true, true
	}
	r.fill(&page, max(at+1, r.first()), limit, from.Epoch != "")
	return page, gap
}

// fill puts entries into a page. A page of a reader with a position ends where the log forks, so that the gap there has its place.
func (r *record) fill(page *bus.Page, at uint64, limit int, forks bool) {
	last := r.top
	if forks {
		for _, p := range r.past {
			if p.last >= at && p.last < last {
				last = p.last
			}
		}
	}
	page.Top = r.position(r.top)
	page.Next = page.Top
	for ; at <= last && len(page.Messages) < limit; at++ {
		m := r.entries[at-r.first()]
		page.Messages = append(page.Messages, m)
		page.Next = m.Position
	}
	page.More = at <= r.top
	if page.More && len(page.Messages) == 0 {
		page.Next = r.position(last)
	}
}

// cut loses the last entries, and the forks among them.
func (r *record) cut(n int) {
	r.entries = r.entries[:len(r.entries)-n]
	r.top -= uint64(n)
	for len(r.past) > 0 && n > 0 && r.past[0].last >= r.top {
		r.epoch, r.past = r.past[0].epoch, r.past[1:]
	}
}
