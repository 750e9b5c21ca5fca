package tail

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// topic is one followed address. Its states, by flags:
//
//	started doubt lags | state    | a push that follows pos      | any other push          | leaves by
//	  no     -     -   | new      | held                         | held                    | the first top (begin)
//	  yes    no    no  | settled  | handed on                    | held, then lagging      | a push that jumps, Interrupted
//	  yes    yes   no  | doubtful | handed on, then settled      | held, then lagging      | a top, asked for in bulk (located)
//	  yes    any   yes | lagging  | handed on, then what is held | held, or dropped (cut)  | a read of the log to its end (page)
//
// "Follows" is a proof: the next offset of the same epoch came on the feed after whatever raised the doubt, so nothing is
// missing before it. The start of an address (bus.Position.IsStart) has no epoch of its own to compare, so there a push proves
// nothing while anything is in doubt.
//
// What is held can always be got rid of. A look, which is a read of the log or of its top, covers everything that was pushed
// before it began: the store appends before it pushes. So when a look has come to the end of the log, what was held before the
// look began is either part of what was handed on, or it belongs to an epoch or an end that the store has lost: it never
// matches, and is dropped. What came during the look is compared again, and if it still does not follow there is one more look,
// after a pause. The cases: pushes held before the first top; a channel deleted, or a store emptied, while an address heals; a
// fork into a new epoch; a log that has lost its end (it ends before pos, or before what is held); a push of a new epoch that
// the look did not see yet; a push of an epoch that was left (dropped at once).
//
// Messages without a position keep their place among those that are held: they are handed on when everything before them was.
type topic struct {
	address bus.Address
	durable bool
	owner   *Tail
	live    atomic.Bool
	refs    int // guarded by Tail.mu
	place   int // in Tail.ring, guarded by Tail.mu

	mu      sync.Mutex
	started bool         // pos is known
	pos     bus.Position // of the last message handed on
	left    bus.Position // where pos was when it went to another epoch
	doubt   bool         // something may be missing
	lags    bool         // something is missing
	doubts  uint64       // how often there was doubt
	looks   uint64       // how many looks have begun
	cut     bool         // more came than may be held; the log has it
	cutAt   uint64       // looks when that was
	busy    bool         // a worker has it, or is going to
	tries   int          // looks without success, one after the other
	quiet   bool         // nothing came since the slow round noted it
	closed  bool
	since   time.Time // when it was settled last; zero while it is
	held    held
}

// look is one question to the store: how many there have been with it, and what was known when it was asked.
type look struct {
	number uint64
	doubts uint64
	from   bus.Position
}

// work is what a topic needs next.
type work struct {
	kind   kind
	pause  time.Duration
	failed bool // the last try did not succeed
}

type kind uint8

const (
	nothing  kind = iota
	askTop        // compare the top of the log with pos
	readLog       // read the log from pos
	nextPage      // read on at once; only a reader is told so
)

func (tp *topic) settled() bool { return tp.started && !tp.doubt && !tp.lags }

// position returns pos, and whether it is known.
func (tp *topic) position() (bus.Position, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.pos, tp.started
}

// take hands a pushed message on when it is the next one, and holds it otherwise.
func (tp *topic) take(m *bus.Message) work {
	if !tp.durable {
		tp.owner.sink.Deliver(m)
		return work{}
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	switch {
	case tp.closed:
		return work{}
	case m.Position.IsZero():
		tp.takeLive(m)
		return tp.next()
	case !tp.started:
		tp.hold(m)
		return work{}
	}
	tp.quiet = false
	switch {
	case tp.past(m.Position):
		return work{}
	case !tp.follows(m.Position):
		tp.hold(m)
		tp.lags = true
		return tp.next()
	case tp.settled():
		tp.hand(m)
		return work{}
	}
	tp.handOn(tp.held.before()) // what came before it
	tp.hand(m)
	tp.doubt, tp.lags = false, false
	tp.drain()
	return tp.next()
}

// takeLive hands on a message without a position when nothing is before it.
func (tp *topic) takeLive(m *bus.Message) {
	if tp.settled() {
		tp.owner.sink.Deliver(m)
		return
	}
	if tp.held.add(m, tp.looks, tp.owner.hold) {
		return
	}
	tp.cutHeld()
	if !tp.held.add(m, tp.looks, tp.owner.hold) { // no log has it, so it is not dropped: it goes ahead of what is missing
		tp.handOn(tp.held.all())
		tp.owner.sink.Deliver(m)
	}
}

// hold keeps a message until what is before it was handed on. What is too much is read from the log instead.
func (tp *topic) hold(m *bus.Message) {
	if tp.cut && tp.cutAt == tp.looks {
		return // no look has begun since
	}
	if !tp.held.add(m, tp.looks, tp.owner.hold) {
		tp.cutHeld()
	}
}

// cutHeld drops what the log has.
func (tp *topic) cutHeld() {
	tp.held.drop(func(item) bool { return true })
	tp.cut, tp.cutAt = true, tp.looks
	tp.lags = tp.started
}

// hand hands on the next message.
func (tp *topic) hand(m *bus.Message) {
	tp.pos = m.Position
	tp.owner.sink.Deliver(m)
}

func (tp *topic) handOn(messages []*bus.Message) {
	for _, m := range messages {
		tp.owner.sink.Deliver(m)
	}
}

// past says whether a position was handed on before, or belongs to an epoch that was left.
func (tp *topic) past(p bus.Position) bool {
	if p.Epoch == tp.pos.Epoch {
		return p.Offset <= tp.pos.Offset
	}
	return !tp.left.IsStart() && p.Epoch == tp.left.Epoch
}

// follows says whether a message at the position is the next one for certain.
func (tp *topic) follows(p bus.Position) bool {
	if tp.pos.IsStart() {
		return !tp.doubt && !tp.lags && p.Offset == 1
	}
	return p.Epoch == tp.pos.Epoch && p.Offset == tp.pos.Offset+1
}

// drain hands on what is held and follows. Afterwards the topic lags when something is missing before the rest.
func (tp *topic) drain() {
	for {
		h, ok := tp.held.first()
		if !ok {
			break
		}
		switch {
		case tp.past(h.m.Position):
			tp.handOn(tp.held.before())
			tp.held.shift()
		case tp.follows(h.m.Position):
			tp.handOn(tp.held.before())
			tp.hand(tp.held.shift())
		default:
			tp.lags = true
			return
		}
	}
	if tp.lags = tp.cut; !tp.lags && !tp.doubt {
		tp.handOn(tp.held.all())
	}
}

// suspect notes that something may have been missed.
func (tp *topic) suspect() work {
	if !tp.durable {
		return work{}
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.doubt = true
	tp.doubts++
	return tp.next()
}

// next says what the topic needs, unless somebody is about to see to it.
func (tp *topic) next() work {
	tp.note()
	if tp.busy || tp.closed || !tp.started || tp.settled() {
		return work{}
	}
	tp.busy = true
	return tp.wanted()
}

func (tp *topic) wanted() work {
	if tp.lags {
		return work{kind: readLog}
	}
	return work{kind: askTop}
}

// after ends what a worker has done and says what is needed next.
func (tp *topic) after(failed, moved bool) work {
	tp.note()
	if tp.closed || tp.settled() {
		tp.busy, tp.tries = false, 0
		return work{}
	}
	w := tp.wanted()
	if w.failed = failed; moved {
		tp.tries = 0
	}
	w.pause = backoff(tp.tries)
	tp.tries++
	return w
}

// note keeps the list of those that heal.
func (tp *topic) note() {
	heals := !tp.closed && tp.started && !tp.settled()
	if heals == !tp.since.IsZero() {
		return
	}
	if tp.since = (time.Time{}); heals {
		tp.since = time.Now()
	}
	tp.owner.healing.set(tp, tp.since)
}

func (tp *topic) close() {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.closed = true
	tp.held.all()
	tp.note()
}
