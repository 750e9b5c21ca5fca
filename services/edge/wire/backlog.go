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
	conns map[*Conn]bool // for which something waits; true for those that were sent away
}

// weigh notes how much waits. The caller holds the lock.
func (c *Conn) weigh() {
	was, is := c.weight.Load(), int64(c.waiting.bytes)
	if !c.crowded || was == is {
		return
	}
	all := &c.sockets.crowd
	c.weight.Store(is)
	all.waiting.Add(is - was)
	switch {
	case was == 0:
		all.mu.Lock()
		all.conns[c] = false
		all.mu.Unlock()
	case is == 0:
		all.mu.Lock()
		delete(all.conns, c)
		all.mu.Unlock()
	}
}

// heaviest returns the connection for which the most waits, and whether it was sent away before; nil when there is none.
func (all *crowd) heaviest() (most *Conn, again bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	weight := int64(0)
	for c := range all.conns {
		if w := c.weight.Load(); w > weight {
			most, weight = c, w
		}
	}
	if most != nil {
		again = all.conns[most]
		all.conns[most] = true
	}
	return most, again
}

// relieve sends clients away until no more waits for all of them than may. The caller has not locked any connection.
func (c *Conn) relieve() {
	all := &c.sockets.crowd
	for c.crowded && all.waiting.Load() > all.limit {
		most, again := all.heaviest()
		switch {
		case most == nil:
			return
		case again: // it does not even take the rest of the frame that it has a part of
			most.reset()
		default:
			all.sent.Add(1)
			most.handler.Stop(ErrCrowded)
		}
	}
}

// Waiting is how many bytes wait for all connections that have a queue of their own.
func (s *Sockets) Waiting() int64 { return s.crowd.waiting.Load() }

// SentAway is how many of them were sent away because too much waited for all of them.
func (s *Sockets) SentAway() int64 { return s.crowd.sent.Load() }
