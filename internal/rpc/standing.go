package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/revoked"
)

// standing knows the calls that outlive the check of their token. It ends them when the token ends, at its time or by a
// revocation. It is the one place that does so: a streaming method gets a context that ends, and nothing it receives or sends
// passes afterwards. It may be used concurrently.
type standing struct {
	revocations *revoked.Follower // nil where nobody hears of any

	mu    sync.RWMutex
	calls map[*standingCall]struct{}
}

// standingCall is one call with a token.
type standingCall struct {
	identity *bus.Identity
	end      context.CancelCauseFunc
}

var _ revoked.Call = (*standingCall)(nil)

// newStanding returns a registry without calls, whose calls the follower ends.
func newStanding(revocations *revoked.Follower) *standing {
	s := &standing{revocations: revocations, calls: make(map[*standingCall]struct{})}
	if revocations != nil {
		revocations.Add(s.open)
	}
	return s
}

// Identity is who makes the call.
func (c *standingCall) Identity() *bus.Identity { return c.identity }

// End ends the call.
func (c *standingCall) End(why *bus.Error) { c.end(why) }

// open returns the calls whose identity is wanted.
func (s *standing) open(wanted func(*bus.Identity) bool) []revoked.Call {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []revoked.Call
	for c := range s.calls {
		if wanted(c.identity) {
			all = append(all, c)
		}
	}
	return all
}

// refused returns why an identity is refused by what was heard lately; nil when it is not.
func (s *standing) refused(id *bus.Identity) error {
	if s.revocations == nil {
		return nil
	}
	if err := s.revocations.Refused(id); err != nil {
		return err
	}
	return nil
}

// enter returns a context that ends with the token of the identity, which was right at a time, and the function that forgets the
// call.
func (s *standing) enter(ctx context.Context, id *bus.Identity, right time.Time) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	c := &standingCall{identity: id, end: end}
	timer := time.AfterFunc(time.Until(id.Expires), func() { end(bus.ErrTokenExpired) })
	s.mu.Lock()
	s.calls[c] = struct{}{}
	s.mu.Unlock()
	if s.revocations != nil {
		s.revocations.Opened(ctx, c, right)
	}
	return ctx, func() {
		timer.Stop()
		s.mu.Lock()
		delete(s.calls, c)
		s.mu.Unlock()
		end(nil)
	}
}

// Alive returns why the call of a client may not go on, because its token has ended; nil while it may. A streaming method asks
// before it carries out what it took earlier.
func Alive(ctx context.Context) error { return ended(ctx, CallerFrom(ctx).Identity) }

// ended returns why a call of the identity may not go on; nil while it may. The clock is asked besides the timer: a process
// that was stopped for a while finds the end of the token before its timers do.
func ended(ctx context.Context, id *bus.Identity) error {
	if id == nil {
		return nil
	}
	if ctx.Err() != nil {
		if cause, ok := context.Cause(ctx).(*bus.Error); ok { //nolint:errorlint // set by enter, as it is
			return cause
		}
	}
	if !time.Now().Before(id.Expires) {
		return bus.ErrTokenExpired
	}
	return nil
}
