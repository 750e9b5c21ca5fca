package tail

import (
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/internal/bus"
)

// topic is one followed address. While it heals, pushed messages are held, and only the
// healer hands messages to the sink; otherwise only the feed does.
type topic struct {
	address bus.Address
	durable bool
	refs    int // guarded by Tail.mu
	live    atomic.Bool

	mu      sync.Mutex
	started bool         // pos is known
	pos     bus.Position // of the last message handed on
	quiet   bool         // nothing came since the last check
	healing bool
	queued  bool // a healer has it, or is going to
	missed  bool // held more than the limit; the log has the rest
	held    []*bus.Message
	closed  bool
}

func (tp *topic) position() bus.Position {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.pos
}

func (tp *topic) known() bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.started
}

// begin sets the first position and hands on what was held after it. It returns true when a healer is needed.
func (tp *topic) begin(top bus.Position, sink Sink) bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.started {
		return false
	}
	tp.started = true
	tp.pos = top
	return tp.settle(sink)
}

// take hands a pushed message on when it is the next one. It returns true when a healer is needed.
func (tp *topic) take(m *bus.Message, sink Sink, limit int) bool {
	if !tp.durable || m.Position.IsZero() {
		sink.Deliver(m)
		return false
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.quiet = false
	if !tp.healing && tp.follows(m) {
		tp.pos = m.Position
		sink.Deliver(m)
		return false
	}
	if tp.healing {
		tp.hold(m, limit)
		return false
	}
	if m.Position.Epoch == tp.pos.Epoch && m.Position.Offset <= tp.pos.Offset {
		return false // a repeat
	}
	tp.hold(m, limit)
	return tp.ask()
}

func (tp *topic) follows(m *bus.Message) bool {
	if tp.pos.IsZero() { // an inbox that nothing had entered yet
		return m.Position.Offset == 1
	}
	return m.Position.Epoch == tp.pos.Epoch && m.Position.Offset == tp.pos.Offset+1
}

func (tp *topic) hold(m *bus.Message, limit int) {
	if len(tp.held) >= limit {
		tp.missed = true
		return
	}
	tp.held = append(tp.held, m)
}

// suspect asks for a healer because something may have been missed.
func (tp *topic) suspect() bool {
	if !tp.durable {
		return false
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.missed = true
	return tp.started && tp.ask()
}

// ask marks the topic as healing; it returns true when it has to be queued.
func (tp *topic) ask() bool {
	tp.healing = true
	if tp.queued || tp.closed {
		return false
	}
	tp.queued = true
	return true
}

// settle hands on what is held and continues pos, and ends healing when nothing is missing. It
// returns true when the log has to be read again and nobody is about to.
func (tp *topic) settle(sink Sink) bool {
	for i, m := range tp.held {
		switch {
		case tp.follows(m):
			tp.pos = m.Position
			sink.Deliver(m)
		case m.Position.Epoch == tp.pos.Epoch && m.Position.Offset <= tp.pos.Offset:
		default:
			tp.held = tp.held[i:]
			return tp.ask()
		}
	}
	tp.held = nil
	if tp.missed {
		return tp.ask()
	}
	tp.healing = false
	return false
}

// healed moves pos after a page of the log was handed on.
func (tp *topic) healed(next bus.Position) {
	tp.mu.Lock()
	tp.pos = next
	tp.mu.Unlock()
}

// startRead says from where a healer has to read; false when there is nothing to do.
func (tp *topic) startRead() (bus.Position, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.closed {
		tp.queued = false
		return bus.Position{}, false
	}
	tp.missed = false
	return tp.pos, true
}

// endRead ends one read to the top of the log; it returns true when another one is needed.
func (tp *topic) endRead(sink Sink) bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.queued = false
	if tp.closed {
		return false
	}
	return tp.settle(sink)
}

func (tp *topic) close() {
	tp.mu.Lock()
	tp.closed = true
	tp.held = nil
	tp.mu.Unlock()
}

// checkable says whether the top of the log has to be compared: nothing came for a whole interval.
func (tp *topic) checkable() bool {
	if !tp.durable {
		return false
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	was := tp.quiet
	tp.quiet = true
	return was && tp.started && !tp.healing
}

// lags says whether top is not where the topic is.
func (tp *topic) lags(top bus.Position) bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.quiet && !tp.healing && top != tp.pos
}
