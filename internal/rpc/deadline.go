package rpc

import (
	"context"
	"sync"
	"time"
)

// maxLead is how long before the caller's deadline a call ends at most.
const maxLead = 100 * time.Millisecond

// early returns when a call ends that has to be over at a deadline: a moment before, so that the caller gets the status. At the
// deadline itself the library resets the stream, which clients that are a little late take for CANCELLED.
func early(now, deadline time.Time) time.Time {
	return deadline.Add(-min(deadline.Sub(now)/10, maxLead))
}

// callContext is the context of one unary call: its caller, and its deadline. The timer that context.WithDeadline starts is made
// only when somebody waits for the end. A publish, for one, does not, and would pay for the timer.
type callContext struct {
	context.Context //nolint:containedctx // it is one

	deadline time.Time
	caller   *Caller

	mu     sync.Mutex
	inner  context.Context //nolint:containedctx // it is this one, with a timer
	cancel context.CancelFunc
}

// Deadline is the end of the call.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done is closed when the call is cancelled, has ended, or its deadline has passed.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.Context, c.deadline)
	}
	return c.inner.Done()
}

// Err says why the call is over.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value finds the caller, and what the contexts below carry.
func (c *callContext) Value(key any) any {
	if key == (callerKey{}) && c.caller != nil {
		return c.caller
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key) // a context made of this one finds its parent here
	}
	return c.Context.Value(key)
}

// end frees the timer. The context is over then for whoever waits for it still.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
