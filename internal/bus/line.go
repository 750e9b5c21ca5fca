package bus

import "slices"

// Line puts the positions of one address in order for one reader. Offsets order positions of one epoch. Which of two epochs
// is the later one nobody can tell from their names: a Line learns it from where it met them.
//
// The reader has two sources. The stream brings what is new, in order. The log is read beside it. Its answer is at least as new
// as everything that the stream had shown when the read began. Hence the rules:
//
//   - An epoch that follows the reader's own in the stream is later than it; the offsets then go on, or a gap is told.
//   - An epoch that the stream showed before a read began, and in which the read did not end, is earlier than where it ended.
//   - Anything else is in doubt until the log has been read once more.
//
// The zero value is a reader that has had nothing. A Line is not safe for concurrent use.
type Line struct {
	at     Position // everything up to here was given
	shown  string   // the epoch that the stream was in last, as far as it was taken
	came   bool     // the stream is known to have come to the epoch of at
	level  bool     // the stream has come to at itself: at was taken from it
	epochs *epochs  // nil until there is more than one
}

// epochs is what a Line knows of the epochs besides its own.
type epochs struct {
	fresh []Position // shown since the last read began, the furthest of each epoch
	read  []Position // shown before that
	older []Position // of epochs that are earlier than that of at
	lost  Position   // up to here of its epoch, nothing beyond at is in the log
	given Position   // was given out of turn
}

// epochsKept is how many epochs a Line remembers of each kind. The log itself knows no more.
const epochsKept = 16

// Standing is how something in the stream stands to what the reader has had.
type Standing int

// The standings.
const (
	// Next is what the reader has not had, and may be given now.
	Next Standing = iota
	// Had is what the reader has had, or is past.
	Had
	// Doubtful is what cannot be told before the log has been read from At.
	Doubtful
)

// At is the position up to which the reader has had everything.
func (l *Line) At() Position { return l.at }

// Start puts a reader where the stream is, or was a moment ago. Before the first message of an address it can only have been there.
func (l *Line) Start(at Position) {
	l.at, l.shown, l.came, l.level = at, "", true, false
	if at.IsStart() {
		l.shown = at.Epoch
	}
}

// Rest puts a reader that has had everything that the stream has shown, up to a position.
func (l *Line) Rest(at Position) { l.at, l.shown, l.came, l.level = at, at.Epoch, true, true }

// Joined notes that nothing comes any more that the stream showed before Start.
func (l *Line) Joined() {
	if l.came {
		l.shown = l.at.Epoch
	}
}

// Show notes a position of the stream that is not taken yet.
func (l *Line) Show(p Position) {
	if p.Epoch == "" {
		return
	}
	e := l.more()
	e.fresh = remember(e.fresh, p)
}

// Reading notes that a read of the log begins.
func (l *Line) Reading() {
	if l.epochs == nil {
		return
	}
	for _, p := range l.epochs.fresh {
		l.epochs.read = remember(l.epochs.read, p)
	}
	l.epochs.fresh = nil
}

// Read notes where the read that began last has ended.
func (l *Line) Read(to Position) {
	if to.Epoch != l.at.Epoch {
		l.pass(l.at.Epoch)
		l.came = false
	}
	l.at, l.level = to, false
	e := l.epochs
	if e == nil {
		return
	}
	for _, p := range e.read {
		l.pass(p.Epoch)
		if p.Epoch == to.Epoch {
			e.lost = p
		}
	}
	if n := len(e.read); n > 0 {
		l.shown = e.read[n-1].Epoch
	}
	e.read = nil
	e.older = without(e.older, to.Epoch)
}

// Take says how what the stream brings next stands: a gap between two positions, or a message at to, whose from is zero. It moves the
// reader when that is Next. What has no position is always Next.
func (l *Line) Take(from, to Position) Standing {
	if to.IsZero() {
		return Next
	}
	was := l.shown
	l.shown = to.Epoch
	e, own := l.epochs, to.Epoch == l.at.Epoch
	switch {
	case e != nil && e.given == to && from.IsZero():
		e.given = Position{}
		l.reach(to)
		return Had
	case own && l.covers(from, to), !own && l.older(to.Epoch):
		return Had
	case l.at.Epoch == "":
	case own && from.IsZero() && to.Offset != l.at.Offset+1 && e != nil && e.lost.Epoch == to.Epoch && to.Offset <= e.lost.Offset:
		return Had // what is between was missed, and the log has lost both
	case from.IsZero() && to.Offset != l.at.Offset+1, !own && was != l.at.Epoch && from.Epoch != l.at.Epoch, l.misses(from):
		l.Show(to) // the first: what is between was missed, or the reader is beyond what the log has lost
		return Doubtful
	case !own:
		l.pass(l.at.Epoch)
	}
	l.at, l.came, l.level = to, true, true
	return Next
}

// misses says whether a gap begins beyond the reader. Such a gap tells what a reader that is further has missed, and nothing of
// what lies before it.
func (l *Line) misses(from Position) bool {
	return from.Epoch != "" && from.Epoch == l.at.Epoch && from.Offset > l.at.Offset
}

// covers says whether the reader has had something of its own epoch. A gap may go back, where the log has lost its end:
// that concerns who is further.
func (l *Line) covers(from, to Position) bool {
	if to.Epoch != l.at.Epoch {
		return false
	}
	if from.Epoch == to.Epoch && from.Offset > to.Offset {
		return l.at.Offset <= to.Offset
	}
	return to.Offset <= l.at.Offset
}

// reach moves the reader over what it was given out of turn, when that is what comes next.
func (l *Line) reach(to Position) {
	if to.Epoch == l.at.Epoch && to.Offset == l.at.Offset+1 {
		l.at = to
	}
}

// Given notes a message that was given out of turn. It is Had once when the stream brings it.
func (l *Line) Given(p Position) { l.more().given = p }

// InStep says whether everything that the stream brings from now on is Next.
func (l *Line) InStep() bool {
	return (l.level || l.at.IsZero()) && (l.epochs == nil || l.epochs.given.IsZero() || l.covers(Position{}, l.epochs.given))
}

// pass notes that an epoch is earlier than the one that the reader is in, or comes to.
func (l *Line) pass(epoch string) {
	if epoch != "" {
		e := l.more()
		e.older = remember(e.older, Position{Epoch: epoch})
	}
}

func (l *Line) more() *epochs {
	if l.epochs == nil {
		l.epochs = &epochs{}
	}
	return l.epochs
}

// older says whether an epoch is known to be earlier than that of at.
func (l *Line) older(epoch string) bool {
	return l.epochs != nil && slices.ContainsFunc(l.epochs.older, func(p Position) bool { return p.Epoch == epoch })
}

// remember returns the list with the position's epoch as the last one, and the furthest of its positions.
func remember(list []Position, p Position) []Position {
	for _, old := range list {
		if old.Epoch == p.Epoch {
			p.Offset = max(p.Offset, old.Offset)
		}
	}
	if n := len(list); n > 0 && list[n-1].Epoch == p.Epoch {
		list[n-1] = p
		return list
	}
	list = append(without(list, p.Epoch), p)
	if len(list) > epochsKept {
		list = slices.Delete(list, 0, len(list)-epochsKept)
	}
	return list
}

func without(list []Position, epoch string) []Position {
	return slices.DeleteFunc(list, func(p Position) bool { return p.Epoch == epoch })
}
