package tail

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/retry"
)

// followed is one followed address. Its states, by flags:
//
//	| started doubt lags | state    | a push that follows pos      | any other push          | leaves by
//	|   no     -     -   | new      | held                         | held                    | the first top (begin)
//	|   yes    no    no  | sure     | handed on                    | held, then lagging      | a push that jumps, Interrupted
//	|   yes    yes   no  | doubtful | handed on, then sure         | held, then lagging      | a top, asked for in bulk (located)
//	|   yes    any   yes | lagging  | handed on, then what is held | held, or dropped (cut)  | a read of the log to its end (page)
//
// "Follows" is a proof: the next offset of the same epoch came on the feed after whatever raised the doubt. So nothing is missing
// before it. The start of an address (bus.Position.IsStart) has no epoch of its own to compare, so there a push proves nothing
// while anything is in doubt.
//
// What is held can always be got rid of. A look is a read of the log or of its top. It covers everything that was pushed before
// it began: the store appends before it pushes. So a look that has come to the end of the log decides what was held before the
// look began. That is either part of what was handed on, or belongs to an epoch or an end that the store has lost. In the second
// case it never matches, and is dropped. What came during the look is compared again, and if it still does not follow there is
// one more look, after a pause.
//
// The cases:
//   - pushes held before the first top;
//   - a channel deleted, or a store emptied, while an address heals;
//   - a fork into a new epoch;
//   - a log that has lost its end (it ends before pos, or before what is held);
//   - a push of a new epoch that the look did not see yet;
//   - a push of an epoch that was left (dropped at once).
//
// Messages without a position keep their place among those that are held: they are handed on when everything before them was.
type followed struct {
	address bus.Address
	durable bool
	common  *common
	live    atomic.Bool
	refs    int // guarded by Tail.mu
	place   int // in Tail.ring, guarded by Tail.mu

	mu      sync.Mutex
	started bool           // pos is known
	pos     bus.Position   // of the last message handed on
	left    []bus.Position // where pos was when it went to another epoch, the last one at the end
	doubt   bool           // something may be missing
	lags    bool           // something is missing
	doubts  uint64         // how often there was doubt
	looks   uint64         // how many looks have begun
	cut     bool           // more came than may be held; the log has it
	cutAt   uint64         // looks when that was
	busy    bool           // a worker has it, or is going to
	tries   int            // looks without success, one after the other
	quiet   bool           // nothing came since the slow round noted it
	closed  bool
	since   time.Time // when it was sure last; zero while it is
	held    held
}

// common is what all followed addresses of a Tail have in common.
type common struct {
	sink    Sink
	hold    budget
	healing healing
}

// look is one question to the store: how many there have been with it, and what was known when it was asked.
type look struct {
	number uint64
	doubts uint64
	from   bus.Position
}

// work is what an address needs next.
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

func (f *followed) sure() bool { return f.started && !f.doubt && !f.lags }

// position returns pos, and whether it is known.
func (f *followed) position() (bus.Position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pos, f.started
}

// take hands a pushed message on when it is the next one, and holds it otherwise.
func (f *followed) take(m *bus.Message) work {
	if !f.durable {
		f.common.sink.Deliver(m)
		return work{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return work{}
	case m.Position.IsZero():
		f.takeLive(m)
		return f.next()
	case !f.started:
		f.hold(m)
		return work{}
	}
	// Whatever came, the slow round need not compare the address this time.
	f.quiet = false
	switch {
	// A read has brought it already, or it belongs to an epoch that was left.
	case f.past(m.Position):
		f.stray(m)
		return work{}
	// It is kept: once what is missing has been read, it is handed on without another read.
	case !f.follows(m.Position):
		f.hold(m)
		f.lags = true
		return f.next()
	// The usual case: nothing is held, so there is nothing to compare.
	case f.sure():
		f.hand(m)
		return work{}
	}
	f.handOn(f.held.before()) // what came before it
	f.hand(m)
	// The offset that follows came after the doubt was raised. That proves that nothing is missing before it.
	f.doubt, f.lags = false, false
	f.drain()
	return f.next()
}

// takeLive hands on a message without a position when nothing is before it.
func (f *followed) takeLive(m *bus.Message) {
	if f.sure() {
		f.common.sink.Deliver(m)
		return
	}
	if f.held.add(m, f.looks, &f.common.hold) {
		return
	}
	// The log has the messages with a position, so their room goes to one that only the feed had.
	f.cutHeld()
	if !f.held.add(m, f.looks, &f.common.hold) { // no log has it, so it is not dropped: it goes ahead of what is missing
		f.handOn(f.held.all())
		f.common.sink.Deliver(m)
	}
}

// hold keeps a message until what is before it was handed on. What is too much is read from the log instead.
func (f *followed) hold(m *bus.Message) {
	// The next look reads from the log what comes before it begins. To hold it would only cost memory.
	if f.cut && f.cutAt == f.looks {
		return // no look has begun since
	}
	if !f.held.add(m, f.looks, &f.common.hold) {
		f.cutHeld()
	}
}

// cutHeld drops what the log has.
func (f *followed) cutHeld() {
	f.held.drop(func(item) bool { return true })
	// Only a look that begins later covers what is dropped here.
	f.cut, f.cutAt = true, f.looks
	f.lags = f.started
}

// hand hands on the next message.
func (f *followed) hand(m *bus.Message) {
	f.pos = m.Position
	f.common.sink.Deliver(m)
}

func (f *followed) handOn(messages []*bus.Message) {
	for _, m := range messages {
		f.common.sink.Deliver(m)
	}
}

// past says whether a position was handed on before, or belongs to an epoch that was left.
func (f *followed) past(p bus.Position) bool {
	if p.Epoch == f.pos.Epoch {
		return p.Offset <= f.pos.Offset
	}
	_, left := f.leftAt(p.Epoch)
	return left
}

// leftAt returns where pos was when it left an epoch; false when it did not.
func (f *followed) leftAt(epoch string) (bus.Position, bool) {
	for _, p := range f.left {
		if p.Epoch == epoch {
			return p, true
		}
	}
	return bus.Position{}, false
}

// stray hands a message that is dropped to a sink that wants it all the same, unless it was handed on before.
func (f *followed) stray(m *bus.Message) {
	s, ok := f.common.sink.(Strayer)
	if !ok || m.Position.Epoch == f.pos.Epoch && m.Position.Offset <= f.pos.Offset {
		return
	}
	if left, ok := f.leftAt(m.Position.Epoch); !ok || m.Position.Offset > left.Offset {
		s.Stray(m)
	}
}

// leftKept is how many epochs are remembered. Pushes of an older one are on their way no more.
const leftKept = 16

// leave notes that pos goes to another epoch. Late pushes of the one that is left are told from those of the new one by it.
func (f *followed) leave(to string) {
	f.left = slices.DeleteFunc(f.left, func(p bus.Position) bool { return p.Epoch == to || p.Epoch == f.pos.Epoch })
	// A start has no epoch of its own, so nothing can belong to it.
	if !f.pos.IsStart() {
		f.left = append(f.left, f.pos)
	}
	if len(f.left) > leftKept {
		f.left = slices.Delete(f.left, 0, 1)
	}
}

// follows says whether a message at the position is the next one for certain.
func (f *followed) follows(p bus.Position) bool {
	// The first message names an epoch that nobody knew before. In doubt it may not be the first.
	if f.pos.IsStart() {
		return !f.doubt && !f.lags && p.Offset == 1
	}
	return p.Epoch == f.pos.Epoch && p.Offset == f.pos.Offset+1
}

// drain hands on what is held and follows. Afterwards the address lags when something is missing before the rest.
func (f *followed) drain() {
	for {
		h, ok := f.held.first()
		if !ok {
			break
		}
		switch {
		// It came by the log as well.
		case f.past(h.m.Position):
			f.handOn(f.held.before())
			f.held.shift()
		case f.follows(h.m.Position):
			f.handOn(f.held.before())
			f.hand(f.held.shift())
		// Something before it is still missing: the next look brings that.
		default:
			f.lags = true
			return
		}
	}
	// What was dropped for lack of room is in the log, so there is one more read.
	if f.lags = f.cut; !f.lags && !f.doubt {
		f.handOn(f.held.all())
	}
}

// suspect notes that something may have been missed.
func (f *followed) suspect() work {
	if !f.durable {
		return work{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt = true
	// A look that began before this doubt does not end it.
	f.doubts++
	return f.next()
}

// next says what the address needs, unless somebody is about to see to it.
func (f *followed) next() work {
	f.note()
	// One worker at a time: two would hand on the same messages.
	if f.busy || f.closed || !f.started || f.sure() {
		return work{}
	}
	f.busy = true
	return f.wanted()
}

func (f *followed) wanted() work {
	if f.lags {
		return work{kind: readLog}
	}
	return work{kind: askTop}
}

// after ends what a worker has done and says what is needed next.
func (f *followed) after(failed, moved bool) work {
	f.note()
	if f.closed || f.sure() {
		f.busy, f.tries = false, 0
		return work{}
	}
	w := f.wanted()
	if w.failed = failed; moved {
		f.tries = 0
	}
	// Also without an error: what can never come must not be read for in a loop.
	w.pause = backoff(f.tries)
	f.tries++
	return w
}

// note keeps the list of those that heal.
func (f *followed) note() {
	heals := !f.closed && f.started && !f.sure()
	// The list has one lock for all addresses, so it is touched only at a change.
	if heals == !f.since.IsZero() {
		return
	}
	if f.since = (time.Time{}); heals {
		f.since = time.Now()
	}
	f.common.healing.set(f, f.since)
}

func (f *followed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	// What is held counts in a budget that all addresses share.
	f.held.all()
	f.note()
}

// backoff is how long an address waits before the next look: at least a while, and up to 2 s with jitter.
func backoff(tries int) time.Duration {
	most := min(40*time.Millisecond<<min(tries, 6), 2*time.Second)
	return most/2 + retry.Jitter(most/2)
}
