package tail

import "github.com/trunkline/trunkline/internal/bus"

// begin sets the first position. The look was begun before the store was asked.
func (f *followed) begin(l look, top bus.Position) work {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Of two callers that open the same address the first position wins.
	if f.started || f.closed {
		return work{}
	}
	f.started, f.pos = true, top
	f.complete(l)
	return f.next()
}

// firstLook notes that the store is going to be asked where the address begins; false when that is known.
func (f *followed) firstLook() (look, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// What is pushed from now on may be in the top already or not. Its offset tells.
	f.looks++
	return look{number: f.looks, doubts: f.doubts}, !f.started
}

// startLook notes that the store is going to be asked; false when there is nothing to ask.
func (f *followed) startLook() (look, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A push may have proved meanwhile that nothing is missing.
	if f.closed || f.sure() {
		f.busy, f.tries = false, 0
		return look{}, false
	}
	f.looks++
	return look{number: f.looks, doubts: f.doubts, from: f.pos}, true
}

// located compares the top of the log with pos.
func (f *followed) located(l look, top bus.Position, err error) work {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	// A doubt that is newer than the question needs another one.
	case err != nil || f.lags || !f.doubt || f.doubts != l.doubts:
	case top == f.pos:
		f.complete(l)
	default:
		f.lags = true
	}
	w := f.after(err != nil, err == nil)
	if err == nil {
		// The store has answered, so there is no reason to spare it.
		w.pause = 0
	}
	return w
}

// read hands on a page that was read from where the address was then.
func (f *followed) read(l look, p *Shared, err error) work {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || err != nil {
		return f.after(err != nil, false)
	}
	before := f.pos
	if before != l.from && p.Top.Epoch != before.Epoch {
		return f.after(false, true) // pushes have moved on from an epoch that has ended meanwhile
	}
	f.tell(l.from, p.Gap)
	for _, m := range p.Messages {
		f.reach(m.Position, m)
	}
	// Messages that have expired are not in the page, but the position goes past them.
	end := p.Next
	if end.Offset == p.Top.Offset {
		end = p.Top // of the epoch that goes on
	}
	f.reach(end, nil)
	// What is held is compared at the end of the log: until then messages before it are still being read.
	if p.More {
		return work{kind: nextPage}
	}
	f.complete(l)
	return f.after(false, f.pos != before)
}

// tell tells of a gap before a page, and goes on behind it.
func (f *followed) tell(from bus.Position, gap *bus.Gap) {
	if gap == nil {
		return
	}
	g := *gap
	// Pushes have moved the position since the read began, so part of the gap may be filled.
	if f.pos != from {
		if g.Reason == bus.GapTrimmed && g.To.Epoch == f.pos.Epoch && g.To.Offset <= f.pos.Offset {
			return // pushes have brought it
		}
		g.From = f.pos
	}
	if left, ok := f.leftAt(g.To.Epoch); ok && g.To.Epoch != f.pos.Epoch {
		g.To = left // the store went back to where it was: nothing comes a second time
	}
	f.common.sink.Gap(g)
	f.enter(g.To)
}

// enter goes to a position that is not the next one. What is held of another epoch than the new one can never come. Messages
// without a position that came before the first of the new epoch are handed on before it.
func (f *followed) enter(to bus.Position) {
	if to.Epoch != f.pos.Epoch {
		f.leave(to.Epoch)
		for {
			h, ok := f.held.first()
			if !ok || h.m.Position.Epoch == to.Epoch {
				break
			}
			f.handOn(f.held.before())
			f.stray(f.held.shift())
		}
		f.handOn(f.held.before())
	}
	f.pos = to
}

// reach goes on to a position in the log, with the message there or without one. What is held up to there is part of the log.
func (f *followed) reach(to bus.Position, m *bus.Message) {
	if to.Epoch == f.pos.Epoch && to.Offset <= f.pos.Offset {
		return // it was handed on before
	}
	if to.Epoch != f.pos.Epoch {
		f.enter(bus.Position{Epoch: to.Epoch, Offset: to.Offset - min(to.Offset, 1)})
	}
	for {
		h, ok := f.held.first()
		if !ok || h.m.Position.Epoch != to.Epoch || h.m.Position.Offset > to.Offset {
			break
		}
		f.handOn(f.held.before())
		f.held.shift()
		if h.m.Position == to {
			f.arrive(to, m) // now: a repeat of something earlier may stand behind it
			m = nil
		}
	}
	f.arrive(to, m)
}

func (f *followed) arrive(at bus.Position, m *bus.Message) {
	f.pos = at
	if m != nil {
		f.common.sink.Deliver(m)
	}
}

// complete ends a look that has come to the end of the log.
func (f *followed) complete(l look) {
	// A doubt that was raised during the look is not answered by it.
	if f.doubts == l.doubts {
		f.doubt = false
	}
	// What was dropped before the look began was read by it.
	if f.cutAt < l.number {
		f.cut = false
	}
	f.lags = false
	f.held.drop(func(i item) bool {
		if i.look >= l.number {
			return false
		}
		f.stray(i.m)
		return true
	})
	f.drain()
}

// wait notes that the slow round is going to compare the address; false when that is pointless.
func (f *followed) wait() bool {
	if !f.durable {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// An address that heals is compared anyway.
	f.quiet = f.sure()
	return f.quiet
}

// still says whether nothing has come since.
func (f *followed) still() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quiet && f.sure() && !f.closed
}

// compare is what the slow round does with a top.
func (f *followed) compare(top bus.Position) work {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.quiet || !f.sure() || top == f.pos {
		return work{}
	}
	f.lags = true
	return f.next()
}
