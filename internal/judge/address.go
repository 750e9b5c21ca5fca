package judge

import (
	"cmp"
	"math"
	"slices"
)

// address is what the record says of one address.
type address struct {
	name        string
	inbox, each bool
	publishes   map[string]*publish
	epochs      map[string]*epoch
	readers     map[string]*reader
	afterEnds   []afterEnd
}

// afterEnd is a message that came to a session whose right had ended.
type afterEnd struct {
	p    *publish
	end  Event
	came int64
}

// epoch is one life of the log of an address.
type epoch struct {
	first int64 // when it was seen first
	index int   // their order, from order
	at    map[uint64]*publish
}

// publish is one message, however often it was sent.
type publish struct {
	key, digest      string
	known            bool
	sent, answered   int64
	refused, unknown string
	places           []Position // where it was answered or delivered to be
	came             int
	digests          map[string]int   // deliveries, by the digest of what came
	acked            map[string]int64 // by device
}

func (a *address) publish(key string) *publish {
	p := a.publishes[key]
	if p == nil {
		p = &publish{key: key}
		a.publishes[key] = p
	}
	return p
}

// see notes that an epoch exists.
func (a *address) see(name string, at int64) *epoch {
	if name == "" {
		return nil
	}
	e := a.epochs[name]
	if e == nil {
		e = &epoch{first: at, at: map[uint64]*publish{}}
		a.epochs[name] = e
	}
	e.first = min(e.first, at)
	return e
}

// stands notes where a message is.
func (a *address) stands(p *publish, e Event) {
	if e.Position.Epoch == "" || slices.Contains(p.places, e.Position) {
		return
	}
	p.places = append(p.places, e.Position)
	ep := a.see(e.Position.Epoch, e.At)
	if ep.at[e.Position.Seq] == nil {
		ep.at[e.Position.Seq] = p
	}
}

// order numbers the epochs by when they were seen first.
func (a *address) order() {
	all := make([]*epoch, 0, len(a.epochs))
	for _, e := range a.epochs {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y *epoch) int { return cmp.Compare(x.first, y.first) })
	for i, e := range all {
		e.index = i
	}
}

// compare orders two positions of the address. It is right after order.
func (a *address) compare(x, y Position) int {
	if x.Epoch == y.Epoch {
		return cmp.Compare(x.Seq, y.Seq)
	}
	return cmp.Compare(a.index(x.Epoch), a.index(y.Epoch))
}

func (a *address) index(name string) int {
	if e := a.epochs[name]; e != nil {
		return e.index
	}
	return -1
}

// placed finds messages at several places, and places with several messages.
func (a *address) placed(v *Verdict) {
	for _, p := range a.publishes {
		seen := map[string]Position{}
		for _, at := range p.places {
			if other, ok := seen[at.Epoch]; ok {
				v.found(Forked, 1, "%s of %s is at %s and at %s", p.key, a.name, other, at)
			}
			seen[at.Epoch] = at
			if first := a.epochs[at.Epoch].at[at.Seq]; first != p {
				v.found(Forked, 1, "%s and %s of %s are both at %s", first.key, p.key, a.name, at)
			}
		}
		if len(seen) > 1 {
			v.found(Moved, 1, "%s of %s is at %v", p.key, a.name, p.places)
		}
	}
}

// shown finds deliveries of what nobody sent, of what was refused, and of other payloads; and publishes without an outcome.
func (a *address) shown(v *Verdict) {
	for _, p := range a.publishes {
		switch {
		case !p.known && p.came > 0:
			v.found(Phantom, p.came, "%s came on %s and was never sent to it", p.key, a.name)
			continue
		case p.refused != "" && p.answered == 0 && p.came > 0:
			v.found(Phantom, p.came, "%s of %s was refused with %s and came", p.key, a.name, p.refused)
		case p.refused == "" && p.answered == 0 && p.known:
			v.found(Unresolved, 1, "%s of %s: %s", p.key, a.name, cmp.Or(p.unknown, "no answer"))
		}
		for digest, n := range p.digests {
			if digest != p.digest {
				v.found(Corrupt, n, "%s of %s came with another payload", p.key, a.name)
			}
		}
	}
}

// late finds messages that were published when a session had no right to them any more.
func (a *address) late(v *Verdict) {
	for _, x := range a.afterEnds {
		if after := x.p.sent - x.end.At; after > x.end.Within {
			v.found(Late, 1, "%s of %s was published %d ms after session %s had ended (%s), and came to it",
				x.p.key, a.name, after/1000, x.end.Session, x.end.Reason)
		}
	}
}

// inverted finds publishes that stand before one which was answered before they began.
func (a *address) inverted(v *Verdict) {
	type placed struct {
		at Position
		p  *publish
	}
	var all []placed
	for _, p := range a.publishes {
		if p.answered > 0 && p.known && len(p.places) == 1 {
			all = append(all, placed{p.places[0], p})
		}
	}
	// The last first. Of two at one place the later one is taken to stand before, which is the worse.
	slices.SortFunc(all, func(x, y placed) int { return cmp.Or(a.compare(y.at, x.at), cmp.Compare(x.p.sent, y.p.sent)) })
	soonest := int64(math.MaxInt64)
	for _, x := range all {
		if soonest < x.p.sent {
			v.found(Inverted, 1, "%s of %s at %s began after the answer to one behind it", x.p.key, a.name, x.at)
		}
		soonest = min(soonest, x.p.answered)
	}
}
