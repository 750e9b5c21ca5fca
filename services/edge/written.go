package edge

import "github.com/trunkline/trunkline/internal/bus"

// A message that asks for an ack counts as delivered when the kernel has taken the last byte of its frame and the client
// had not gone by then. What is still in the backlog counts later, or never when the connection ends before; so a delivery
// that nobody saw uses up nothing. An edge that dies between the write and the note delivers once more.

// unwritten is a message in the backlog, and where its frames end in everything that was ever put there.
type unwritten struct {
	end  uint64
	note bus.Ack
}

// written notes messages whose frames were handed over, as soon as they are written.
func (t *transport) written(notes []bus.Ack) {
	if len(notes) == 0 {
		return
	}
	t.mu.Lock()
	waits := t.draining && !t.broken && !t.finished
	if waits { // as many at most as the backlog has frames, which has a bound
		for _, n := range notes {
			t.unwritten = append(t.unwritten, unwritten{t.queued, n})
		}
	}
	ended := t.broken || t.finished
	t.mu.Unlock()
	if !waits && !ended {
		t.report(notes)
	}
}

// flushed says that bytes of the backlog were written, and returns the messages that were among them. The caller holds the lock.
func (t *transport) flushed(size int) []bus.Ack {
	t.cleared += uint64(size) //nolint:gosec // not negative
	var notes []bus.Ack
	for len(t.unwritten) > 0 && t.unwritten[0].end <= t.cleared {
		notes = append(notes, t.unwritten[0].note)
		t.unwritten = t.unwritten[1:]
	}
	if len(t.unwritten) == 0 {
		t.unwritten = nil
	}
	return notes
}

// report tells the store of messages that were written.
func (t *transport) report(notes []bus.Ack) {
	if len(notes) > 0 && !hungUp(t.raw) {
		t.owner.behind.Acks.Wrote(notes)
	}
}
