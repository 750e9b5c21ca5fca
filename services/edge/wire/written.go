package wire

// A message that asks for an ack counts as delivered when the kernel has taken the last byte of its frame and the client
// had not gone by then. What is still in the backlog counts later, or never when the connection ends before; so a delivery
// that nobody saw uses up nothing. An edge that dies between the write and the note delivers once more.

// after is what is called when everything up to a place is written, of all bytes that were ever put into the backlog.
type after struct {
	end  uint64
	call func()
}

// AfterWritten calls f as soon as the frames that were sent before it are written; never when the connection ends before, or
// the client has gone.
func (c *Conn) AfterWritten(f func()) {
	c.mu.Lock()
	ended := c.broken || c.finished
	waits := c.draining && !ended
	if waits { // as many at most as the backlog has frames, which has a bound
		c.after = append(c.after, after{c.queued, f})
	}
	c.mu.Unlock()
	if !waits && !ended {
		c.call([]after{{call: f}})
	}
}

// flushed says that bytes of the backlog were written, and returns what was waited for among them. The caller holds the lock.
func (c *Conn) flushed(size int) []after {
	c.cleared += uint64(size) //nolint:gosec // not negative
	n := 0
	for n < len(c.after) && c.after[n].end <= c.cleared {
		n++
	}
	done := c.after[:n:n]
	if c.after = c.after[n:]; len(c.after) == 0 {
		c.after = nil
	}
	return done
}

// call calls what waited, unless the client has hung up: what it had not read then, it will not read.
func (c *Conn) call(done []after) {
	if len(done) == 0 || hungUp(c.raw) {
		return
	}
	for _, a := range done {
		a.call()
	}
}
