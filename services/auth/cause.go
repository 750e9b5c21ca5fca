package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// cause is why a token is refused: what was checked, what the token has there, and what was wanted. It never holds a token.
type cause struct{ check, value, want string }

// Error says it in one line.
func (c *cause) Error() string {
	if c.value == "" {
		return fmt.Sprintf("%s: %s", c.check, c.want)
	}
	return fmt.Sprintf("%s is %s, wanted %s", c.check, c.value, c.want)
}

// maxValue is how many characters of a value are told.
const maxValue = 128

// invalid refuses a token. A nil value is a claim that is missing.
func invalid(check string, value any, want string) *bus.Error {
	return refused(bus.ErrTokenInvalid, check, value, want)
}

func refused(e *bus.Error, check string, value any, want string) *bus.Error {
	c := &cause{check: check, want: want}
	switch v := value.(type) {
	case nil:
		c.value = "missing"
	case string:
		c.value = fmt.Sprintf("%.*q", maxValue, v)
	default:
		c.value = fmt.Sprintf("%.*s", maxValue, fmt.Sprint(v))
	}
	return e.Wrap(c)
}

// malformed refuses a token whose form is wrong, in words that hold nothing of it.
func malformed(check, why string) *bus.Error {
	return bus.ErrTokenInvalid.Wrap(&cause{check: check, want: why})
}

// explained puts the cause of a refusal into it, for those who may know it. In development mode that is everybody, otherwise back ends
// that ask for it.
func explained(err error) error {
	var e *bus.Error
	if !errors.As(err, &e) {
		return err
	}
	if at := e.Metadata["expireTime"]; at != "" && errors.Is(e, bus.ErrTokenExpired) {
		return e.With("", map[string]string{"expireTime": at, "check": "exp", "value": at, "wanted": "a time that is to come"})
	}
	why := e.Unwrap()
	if why == nil {
		return err
	}
	var c *cause
	if !errors.As(why, &c) {
		return e.With(e.Message+": "+why.Error(), e.Metadata).Wrap(why)
	}
	facts := map[string]string{"check": c.check, "value": c.value, "wanted": c.want}
	return e.With(e.Message+": "+c.Error(), facts).Wrap(why)
}

// teller writes refusals into the log: the first one of each check, and then one in tellEvery with the number of those before.
type teller struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	kinds map[string]*told
}

// told is what was said of one check.
type told struct {
	at    time.Time
	quiet int
}

const (
	// tellEvery is how often a check is spoken of.
	tellEvery = 10 * time.Second
	// tellKinds is how many checks are told apart; there are about twenty, and as many as the settings name claims.
	tellKinds = 100
)

// tell writes why a token was refused. That one has expired or was revoked is no news.
func (t *teller) tell(err error) {
	var e *bus.Error
	if !errors.As(err, &e) || errors.Is(e, bus.ErrTokenExpired) || errors.Is(e, bus.ErrTokenRevoked) || e.Unwrap() == nil {
		return
	}
	kind := e.Reason
	if c, ok := errors.AsType[*cause](e.Unwrap()); ok {
		kind = c.check
	}
	if quiet, now := t.due(kind); now {
		t.log.Warn("refused a token", slog.String("reason", e.Reason), slog.String("check", kind),
			slog.String("cause", e.Unwrap().Error()), slog.Int("like_it_before", quiet))
	}
}

// due says whether a kind is spoken of now, and how many were not since.
func (t *teller) due(kind string) (quiet int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.kinds[kind] == nil {
		if len(t.kinds) == tellKinds {
			kind = "other"
		}
		if t.kinds[kind] == nil {
			t.kinds[kind] = &told{at: now.Add(-tellEvery)}
		}
	}
	k := t.kinds[kind]
	if now.Sub(k.at) < tellEvery {
		k.quiet++
		return 0, false
	}
	quiet, k.quiet, k.at = k.quiet, 0, now
	return quiet, true
}
