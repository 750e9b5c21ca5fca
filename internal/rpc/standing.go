package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Standing knows the calls that outlive the check of their token, and ends them when the token ends: at its time, and
// when it is revoked. It is the one place that does so: a streaming method gets a context that ends, and nothing it
// receives or sends passes afterwards. It also remembers what was revoked lately, for tokens that are still remembered as
// valid. It may be used concurrently.
type Standing struct {
	mu sync.RWMutex
	// known is since when the tokens of subjects are refused, as announced lately; older is what was announced before.
	known, older map[bus.Subject]time.Time
	calls        map[bus.Subject]map[*standingCall]struct{}
}

// standingCall is one call with a token.
type standingCall struct {
	identity *bus.Identity
	end      context.CancelCauseFunc
}

// knownRevocations is how many revocations are remembered: many more than come while a token is remembered as valid.
const knownRevocations = 100_000

// NewStanding returns a registry without calls.
func NewStanding() *Standing {
	return &Standing{known: make(map[bus.Subject]time.Time), calls: make(map[bus.Subject]map[*standingCall]struct{})}
}

// Announce takes a revocation: the calls that it refuses end before it returns. That revocations may be lost ends no call:
// what was revoked before then has ended its calls already. It refuses tokens that come from now on.
func (s *Standing) Announce(r bus.Revocation) {
	subject := bus.Subject{Kind: r.Kind, ID: r.ID}
	s.mu.Lock()
	if r.Before.After(s.before(subject)) {
		if len(s.known) >= knownRevocations {
			s.known, s.older = make(map[bus.Subject]time.Time), s.known
		}
		s.known[subject] = r.Before
	}
	refused := make(map[*standingCall]error)
	for c := range s.calls[subject] { // nobody is entered under SubjectLost
		if err := c.identity.Refused(s.before); err != nil {
			refused[c] = err
		}
	}
	s.mu.Unlock()
	for c, err := range refused {
		c.end(err)
	}
}

// before returns since when tokens of the subject are refused. The caller holds the lock.
func (s *Standing) before(subject bus.Subject) time.Time {
	if at, ok := s.known[subject]; ok {
		return at
	}
	return s.older[subject]
}

// Refused returns why an identity is refused by what was announced lately; nil when it is not.
func (s *Standing) Refused(id *bus.Identity) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.known) == 0 {
		return nil
	}
	if err := id.Refused(s.before); err != nil {
		return err
	}
	return nil
}

// Subjects returns what the tokens of the calls could be revoked by.
func (s *Standing) Subjects() []bus.Subject {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]bus.Subject, 0, len(s.calls))
	for subject := range s.calls {
		all = append(all, subject)
	}
	return all
}

// enter returns a context that ends with the token of the identity, and the function that forgets the call.
func (s *Standing) enter(ctx context.Context, id *bus.Identity) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	c := &standingCall{identity: id, end: end}
	timer := time.AfterFunc(time.Until(id.Expires), func() { end(bus.ErrTokenExpired) })
	s.mu.Lock()
	for _, subject := range id.Subjects() {
		if subject.Kind == bus.SubjectLost {
			continue
		}
		if s.calls[subject] == nil {
			s.calls[subject] = make(map[*standingCall]struct{})
		}
		s.calls[subject][c] = struct{}{}
	}
	err := id.Refused(s.before) // announced since the token was validated
	s.mu.Unlock()
	if err != nil {
		end(err)
	}
	return ctx, func() {
		timer.Stop()
		s.leave(c)
		end(nil)
	}
}

func (s *Standing) leave(c *standingCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subject := range c.identity.Subjects() {
		delete(s.calls[subject], c)
		if len(s.calls[subject]) == 0 {
			delete(s.calls, subject)
		}
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
