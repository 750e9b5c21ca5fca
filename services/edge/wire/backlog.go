package wire

import (
	"slices"
	"sync"
	"sync/atomic"
)

// backlog is what waits to be written to a client, in whole frames. It knows of which frame the client has a part, so that this
// one can always be ended. A frame that is cut takes everything after it along. The lock of its Conn guards the backlog.
type backlog struct {
	pieces  [][]byte // of whole frames each, but for the first
	bytes   int      // in all of them
	begun   int      // bytes at the head that end a frame of which the client has a part
	queued  uint64   // bytes ever added
	cleared uint64   // and taken from it
	hurried uint64   // where the frame ends that hurry added last, of all bytes that were ever added
	after   []after  // what is called when parts of it are written
}

// after is what is called when everything up to a place is written, of all bytes that were ever added.
type after struct {
	end  uint64
	call func()
}

// drainChunk is how many bytes are written at once.
const drainChunk = 64 << 10

// add appends whole frames, or what is left of them when the client has their beginning.
func (b *backlog) add(p []byte) {
	b.pieces = append(b.pieces, p)
	b.bytes += len(p)
	b.queued += uint64(len(p))
}

// hurry puts a frame before everything of which the client has no part.
func (b *backlog) hurry(p []byte) {
	at := 0
	if b.begun > 0 && len(b.pieces) > 0 {
		if at = 1; b.begun < len(b.pieces[0]) {
			b.pieces = slices.Insert(b.pieces, 1, b.pieces[0][b.begun:])
			b.pieces[0] = b.pieces[0][:b.begun]
		}
	}
	b.pieces = slices.Insert(b.pieces, at, p)
	size, before := uint64(len(p)), b.cleared+uint64(b.begun) // not negative
	for i := range b.after {
		if b.after[i].end > before {
			b.after[i].end += size
		}
	}
	b.bytes += len(p)
	b.queued += size
	b.hurried = before + size
}

// ponging says whether what hurry added last still waits.
func (b *backlog) ponging() bool { return b.cleared < b.hurried }

// chunk returns what is written next, where a write takes what it can; nil when there is nothing. Small pieces are joined in buf.
func (b *backlog) chunk(buf []byte) []byte {
	if len(b.pieces) == 0 {
		return nil
	}
	// One large piece goes as it is. To copy it would cost more than the call that it saves.
	if head := b.pieces[0]; len(head) >= drainChunk/2 || len(b.pieces) == 1 {
		return head[:min(len(head), drainChunk)]
	}
	for _, p := range b.pieces {
		if len(buf)+len(p) > drainChunk {
			break
		}
		buf = append(buf, p...)
	}
	return buf
}

// frame returns one frame, or the rest of the one that has begun, where a write that has begun is not taken back. The whole
// frame counts as begun from then on.
func (b *backlog) frame() []byte {
	if len(b.pieces) == 0 {
		return nil
	}
	if b.begun == 0 {
		b.begun = frameLength(b.pieces[0])
	}
	b.begun = min(b.begun, len(b.pieces[0]))
	return b.pieces[0][:b.begun]
}

// took notes that the client has taken bytes, and returns what was waited for and is complete with them.
func (b *backlog) took(size int) []after {
	for n := size; n > 0 && len(b.pieces) > 0; {
		head := b.pieces[0]
		if n >= len(head) { // whole frames, but for what has begun
			b.begun, b.pieces = 0, b.pieces[1:]
			n -= len(head)
			continue
		}
		b.begun, b.pieces[0] = frameRest(head, b.begun, n), head[n:]
		n = 0
	}
	b.bytes = max(0, b.bytes-size)
	b.cleared += uint64(size) // not negative
	n := 0
	for n < len(b.after) && b.after[n].end <= b.cleared {
		n++
	}
	done := b.after[:n:n]
	if b.after = b.after[n:]; len(b.after) == 0 {
		b.after = nil
	}
	return done
}

// drop empties the backlog, but for the rest of a frame that has begun.
func (b *backlog) drop() {
	var rest [][]byte
	for left := b.begun; left > 0 && len(b.pieces) > 0; b.pieces = b.pieces[1:] {
		p := b.pieces[0][:min(left, len(b.pieces[0]))]
		rest = append(rest, p)
		left -= len(p)
	}
	// What waited for these frames is never called, since they were not delivered.
	b.pieces, b.after, b.bytes = rest, nil, b.begun
}

// clear empties the backlog of a connection that has failed.
func (b *backlog) clear() { b.pieces, b.after, b.bytes, b.begun = nil, nil, 0, 0 }

// crowd is the connections with a queue of their own, and what waits for all of them together. A protocol with large messages lets
// much wait for each, and those that stall would take all memory. Beyond the limit the one for which the most waits has to go.
type crowd struct {
	limit   int64
	waiting atomic.Int64
	sent    atomic.Int64 // how many were sent away

	mu    sync.Mutex     // taken after the lock of a Conn, if at all
	loads map[*load]bool // with something in them; true for those that were sent away
}

// load is what waits for one connection of a crowd. A nil load is of a connection that belongs to none.
type load struct {
	crowd *crowd
	bytes atomic.Int64
	// leave sends the client away, or ends a connection that was sent away before.
	leave func(again bool)
}

// set notes how much waits. Only one caller at a time may do that.
func (l *load) set(bytes int) {
	if l == nil {
		return
	}
	was, is := l.bytes.Load(), int64(bytes)
	if was == is {
		return
	}
	l.bytes.Store(is)
	l.crowd.waiting.Add(is - was)
	if was == 0 || is == 0 {
		l.crowd.mu.Lock()
		defer l.crowd.mu.Unlock()
		if is == 0 {
			delete(l.crowd.loads, l)
		} else {
			l.crowd.loads[l] = false
		}
	}
}

// relieve sends clients away until no more waits for all of them than may. The caller has not locked any connection.
func (l *load) relieve() {
	for l != nil && l.crowd.waiting.Load() > l.crowd.limit {
		most, again := l.crowd.heaviest()
		if most == nil {
			return
		}
		if !again {
			l.crowd.sent.Add(1)
		}
		most.leave(again)
	}
}

// heaviest returns the largest load, and whether its client was sent away before; nil when there is none.
func (all *crowd) heaviest() (most *load, again bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	bytes := int64(0)
	for l := range all.loads {
		if n := l.bytes.Load(); n > bytes {
			most, bytes = l, n
		}
	}
	if most != nil {
		again = all.loads[most]
		all.loads[most] = true
	}
	return most, again
}
