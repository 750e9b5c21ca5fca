package tail

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// begin sets the first position. The look was begun before the store was asked.
func (tp *topic) begin(l look, top bus.Position) work {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.started || tp.closed {
		return work{}
	}
	tp.started, tp.pos = true, top
	tp.complete(l)
	return tp.next()
}

// firstLook notes that the store is going to be asked where the topic begins; false when that is known.
func (tp *topic) firstLook() (look, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.looks++
	return look{number: tp.looks, doubts: tp.doubts}, !tp.started
}

// startLook notes that the store is going to be asked; false when there is nothing to ask.
func (tp *topic) startLook() (look, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.closed || tp.settled() {
		tp.busy, tp.tries = false, 0
		return look{}, false
	}
	tp.looks++
	return look{number: tp.looks, doubts: tp.doubts, from: tp.pos}, true
}

// located compares the top of the log with pos.
func (tp *topic) located(l look, top bus.Position, err error) work {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	switch {
	case err != nil || tp.lags || !tp.doubt || tp.doubts != l.doubts:
	case top == tp.pos:
		tp.complete(l)
	default:
		tp.lags = true
	}
	w := tp.after(err != nil, err == nil)
	if err == nil {
		w.pause = 0
	}
	return w
}

// read hands on a page that was read from where the topic was then.
func (tp *topic) read(l look, p *Shared, err error) work {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.closed || err != nil {
		return tp.after(err != nil, false)
	}
	before := tp.pos
	if before != l.from && p.Top.Epoch != before.Epoch {
		return tp.after(false, true) // pushes have moved on from an epoch that has ended meanwhile
	}
	tp.tell(l.from, p.Gap)
	for _, m := range p.Messages {
		tp.reach(m.Position, m)
	}
	end := p.Next
	if end.Offset == p.Top.Offset {
		end = p.Top // of the epoch that goes on
	}
	tp.reach(end, nil)
	if p.More {
		return work{kind: nextPage}
	}
	tp.complete(l)
	return tp.after(false, tp.pos != before)
}

// tell tells of a gap before a page, and goes on behind it.
func (tp *topic) tell(from bus.Position, gap *bus.Gap) {
	if gap == nil {
		return
	}
	g := *gap
	if tp.pos != from {
		if g.Reason == bus.GapTrimmed && g.To.Epoch == tp.pos.Epoch && g.To.Offset <= tp.pos.Offset {
			return // pushes have brought it
		}
		g.From = tp.pos
	}
	if g.To.Epoch != tp.pos.Epoch && g.To.Epoch == tp.left.Epoch && !tp.left.IsStart() {
		g.To = tp.left // the store went back to where it was: nothing comes a second time
	}
	tp.owner.sink.Gap(g)
	tp.enter(g.To)
}

// enter goes to a position that is not the next one. What is held of another epoch than the new one can never come; messages
// without a position that came before the first of the new epoch are handed on before it.
func (tp *topic) enter(to bus.Position) {
	if to.Epoch != tp.pos.Epoch {
		tp.left = tp.pos
		for {
			h, ok := tp.held.first()
			if !ok || h.m.Position.Epoch == to.Epoch {
				break
			}
			tp.handOn(tp.held.before())
			tp.held.shift()
		}
		tp.handOn(tp.held.before())
	}
	tp.pos = to
}

// reach goes on to a position in the log, with the message there or without one. What is held up to there is part of the log.
func (tp *topic) reach(to bus.Position, m *bus.Message) {
	if to.Epoch == tp.pos.Epoch && to.Offset <= tp.pos.Offset {
		return // it was handed on before
	}
	if to.Epoch != tp.pos.Epoch {
		tp.enter(bus.Position{Epoch: to.Epoch, Offset: to.Offset - min(to.Offset, 1)})
	}
	for {
		h, ok := tp.held.first()
		if !ok || h.m.Position.Epoch != to.Epoch || h.m.Position.Offset > to.Offset {
			break
		}
		tp.handOn(tp.held.before())
		tp.held.shift()
		if h.m.Position == to {
			tp.arrive(to, m) // now: a repeat of something earlier may stand behind it
			m = nil
		}
	}
	tp.arrive(to, m)
}

func (tp *topic) arrive(at bus.Position, m *bus.Message) {
	tp.pos = at
	if m != nil {
		tp.owner.sink.Deliver(m)
	}
}

// complete ends a look that has come to the end of the log.
func (tp *topic) complete(l look) {
	if tp.doubts == l.doubts {
		tp.doubt = false
	}
	if tp.cutAt < l.number {
		tp.cut = false
	}
	tp.lags = false
	tp.held.drop(func(i item) bool { return i.look < l.number })
	tp.drain()
}

// wait notes that the slow round is going to compare the topic; false when that is pointless.
func (tp *topic) wait() bool {
	if !tp.durable {
		return false
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.quiet = tp.settled()
	return tp.quiet
}

// still says whether nothing has come since.
func (tp *topic) still() bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.quiet && tp.settled() && !tp.closed
}

// compare is what the slow round does with a top.
func (tp *topic) compare(top bus.Position) work {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if !tp.quiet || !tp.settled() || top == tp.pos {
		return work{}
	}
	tp.lags = true
	return tp.next()
}

// backoff is how long a topic waits before the next look: at least a while, and up to 2 s with jitter.
func backoff(tries int) time.Duration {
	most := min(40*time.Millisecond<<min(tries, 6), 2*time.Second)
	return most/2 + jitter(most/2)
}
