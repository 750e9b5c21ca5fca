package edge

import (
	"slices"
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
)

// inlet is what has come for a shard while it writes. The feed never waits for a shard, so this has a bound: of an address
// that finds it full, nothing is kept until the shard has come so far. It then reads on from the log, or tells a gap where there is none.
type inlet struct {
	sync.Mutex
	list   []*parcel
	bytes  int
	lapsed map[bus.Address]*lapse
}

// lapse is what was not kept of one address: everything from some place on.
type lapse struct {
	from, to bus.Position // from is where the log is to be read on; zero where it does not have it
	ended    bool         // the channel was deleted, at last
	marks    []string
}

// put takes a parcel, and says whether it is the first of a turn.
func (in *inlet) put(p *parcel, cfg *Config) bool {
	in.Lock()
	defer in.Unlock()
	first, size := len(in.list)+len(in.lapsed) == 0, sizeOf(p)
	l := in.lapsed[p.address()]
	if l == nil && len(in.list) < cfg.ShardParcels && (in.bytes+size <= cfg.ShardBytes || len(in.list) == 0) {
		in.list = append(in.list, p)
		in.bytes += size
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
	case p.mark():
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
	in.Lock()
	defer in.Unlock()
	list, lapsed := in.list, in.lapsed
	in.list, in.lapsed, in.bytes = spare[:0], nil, 0
	return list, lapsed
}

// waiting returns what is in the inlet.
func (in *inlet) waiting() (parcels, bytes int) {
	in.Lock()
	defer in.Unlock()
	return len(in.list), in.bytes
}

// lapse makes the subscriptions read on from the log, or tells them a gap, where the shard was slower than the feed.
func (sh *shard) lapse(all map[bus.Address]*lapse) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for a, l := range all {
		g := sh.groups[a]
		if g == nil {
			continue
		}
		sh.owner.metrics.lapses.Inc()
		for _, sub := range slices.Clone(g.subs) {
			sh.lapseOf(sub, l)
		}
		if l.ended {
			sh.endAll(g)
		}
	}
}

// lapseOf does so for one subscription. The caller holds the lock.
func (sh *shard) lapseOf(sub *subscription, l *lapse) {
	for _, mark := range l.marks {
		sub.reach(mark)
	}
	switch {
	case sub.holding: // it reads the log, or tells a gap, when it is let in
		sub.missed = true
	case sub.lag != nil:
		if !sub.lag.lossy {
			sub.lag.skipped = bus.Gap{From: l.from}
		}
		sub.lag.lossy = true
		sub.lag.skipped.Address, sub.lag.skipped.To, sub.lag.skipped.Reason = sub.address, l.to, bus.GapSlow
	case !l.from.IsZero():
		if !sub.catching {
			sub.line.Rest(l.from)
		}
		sub.lag = &lag{}
		sub.holding, sub.missed = true, true
		sh.wait(sub)
	default:
		clear(sh.merged)
		sh.give(sub, []*parcel{sh.owner.gapParcel(bus.Gap{Address: sub.address, Reason: bus.GapSlow})}, true)
	}
}
