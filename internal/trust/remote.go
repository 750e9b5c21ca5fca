package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
)

const (
	// readTimeout is for reading a key set, and maxSet how large one may be, in bytes.
	readTimeout = 5 * time.Second
	maxSet      = 1 << 20
	// askEvery is how often a set is read again because a token names a key that is not in it.
	askEvery = 10 * time.Second
	// askWait is how long a token waits for that.
	askWait = time.Second
	// failedWait is how soon a set that could not be read is read again, at most.
	failedWait = 10 * time.Second
	// warnEvery is how often a set that cannot be read is spoken of.
	warnEvery = 5 * time.Minute
	// maxGone is how many withdrawn keys are known by their ids.
	maxGone = 100
)

// remote is a key set that is read from elsewhere. What was read stays when it cannot be read again.
type remote struct {
	cfg    Config
	now    func() time.Time
	log    *slog.Logger
	client *http.Client
	wake   chan struct{} // asks run to read at once

	reading sync.Mutex // held while it is read

	mu      sync.Mutex
	set     []*jose.Key
	skipped []jose.Skipped
	gone    []string      // key ids that were in a set before
	tried   bool          // a reading has ended
	known   bool          // it was read once
	failed  error         // of the last reading
	warned  time.Time     // when that was last spoken of
	asked   time.Time     // when a token last asked for a reading
	next    chan struct{} // closed at the end of the next reading
	waiting bool          // a token waits for it
}

func newRemote(c Config, now func() time.Time, log *slog.Logger) *remote {
	return &remote{
		cfg: c, now: now, log: log, wake: make(chan struct{}, 1), next: make(chan struct{}),
		failed: errors.New("they were not read yet"),
		client: &http.Client{
			Timeout:       readTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// run reads the set at once, when a token asks for it, and twice in each KeyAge, until ctx ends.
func (r *remote) run(ctx context.Context) {
	for {
		wait := r.cfg.KeyAge / 2
		if r.read(ctx) != nil {
			wait = min(wait, failedWait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.wake:
			timer.Stop()
		}
	}
}

// read reads the set, and tells those who wait for that.
func (r *remote) read(ctx context.Context) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	text, err := r.fetch(ctx)
	var keys []*jose.Key
	var skipped []jose.Skipped
	if err == nil {
		keys, skipped, err = jose.ParseSet(text, r.cfg.Algorithms)
	}
	if ctx.Err() != nil {
		return ctx.Err() //nolint:wrapcheck // nobody reads on
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell(err)
	r.failed, r.waiting, r.tried = err, false, true
	if err == nil {
		warnSkipped(r.log, r.cfg.Issuer, r.skipped, skipped)
		r.replace(keys)
		r.skipped, r.known = skipped, true
	}
	close(r.next)
	r.next = make(chan struct{})
	return err
}

// replace takes a new set, and notes which keys the issuer has withdrawn. The caller holds the lock.
func (r *remote) replace(keys []*jose.Key) {
	before := r.set
	r.set = keys
	for _, k := range before {
		if !r.has(k.ID) && !slices.Contains(r.gone, k.ID) {
			r.gone = append(r.gone, k.ID)
		}
	}
	r.gone = r.gone[max(0, len(r.gone)-maxGone):]
}

func (r *remote) fetch(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.JWKSURL, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the key set: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for the key set: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s is answered with %s", r.cfg.JWKSURL, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if len(text) > maxSet {
		return nil, fmt.Errorf("the key set has more than %d bytes", maxSet)
	}
	return text, nil
}

// tell speaks of a reading that failed, when the one before did not or long ago, and of the first that succeeds again. The caller
// holds the lock.
func (r *remote) tell(err error) {
	now := r.now()
	switch {
	case err != nil && (r.warned.IsZero() || now.Sub(r.warned) >= warnEvery):
		r.warned = now
		r.log.Warn("cannot read the keys of an issuer; its tokens are answered as to be tried again, unless their key is known",
			slog.String("issuer", r.cfg.Issuer), slog.String("url", r.cfg.JWKSURL), slog.String("error", err.Error()))
	case err == nil && !r.warned.IsZero():
		r.warned = time.Time{}
		r.log.Info("read the keys of an issuer again", slog.String("issuer", r.cfg.Issuer))
	}
}

func (r *remote) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		return nil
	}
	if r.known {
		return fmt.Errorf("its keys cannot be read, those before are believed: %w", r.failed)
	}
	return fmt.Errorf("its keys cannot be read, and its tokens are refused for now: %w", r.failed)
}

// keys returns the set in which a key of this id is looked up. When there is none, the set is read again first: once in askEvery. It
// returns ErrAuthUnavailable when the key may be there later. One that was withdrawn will not.
func (r *remote) keys(ctx context.Context, kid string) ([]*jose.Key, error) {
	set, again, err := r.look(kid)
	if set != nil || err != nil {
		return set, err
	}
	timer := time.NewTimer(askWait)
	defer timer.Stop()
	select {
	case <-again:
	case <-timer.C:
		return nil, r.later(askWait, "the keys are still being read")
	case <-ctx.Done():
		return nil, r.later(askWait, "the keys are still being read")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has(kid) || r.failed == nil {
		return r.found(), nil
	}
	return nil, r.later(askWait, r.failed.Error())
}

// look returns the set when it has the key, and otherwise what is closed when it was read again.
func (r *remote) look(kid string) (set []*jose.Key, again <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has(kid) {
		return r.found(), nil, nil
	}
	if !r.tried {
		return nil, r.next, nil
	}
	now := r.now()
	if since := now.Sub(r.asked); !r.waiting && since >= 0 && since < askEvery {
		if r.failed == nil && slices.Contains(r.gone, kid) {
			return r.found(), nil, nil
		}
		return nil, nil, r.later(askEvery-since, "no such key, and the set was read a moment ago")
	}
	if !r.waiting {
		r.waiting, r.asked = true, now
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return nil, r.next, nil
}

// has says whether a key of this id was read, or any set at all for a token that names none. The caller holds the lock.
func (r *remote) has(kid string) bool {
	return r.known && (kid == "" || slices.ContainsFunc(r.set, func(k *jose.Key) bool { return k.ID == kid }))
}

// found returns the set, which is never nil. The caller holds the lock.
func (r *remote) found() []*jose.Key {
	if r.set == nil {
		return []*jose.Key{}
	}
	return r.set
}

// later is the refusal of a token that may be good in a while.
func (r *remote) later(retry time.Duration, why string) error {
	return bus.ErrAuthUnavailable.Retry(max(retry, time.Second)).Wrap(fmt.Errorf("the keys of %s: %s", r.cfg.Issuer, why))
}

// warnSkipped speaks of the keys of a set that are not used, unless they were not before.
func warnSkipped(log *slog.Logger, issuer string, before, skipped []jose.Skipped) {
	for _, s := range skipped {
		if !slices.Contains(before, s) {
			log.Warn("a key of an issuer is not used", slog.String("issuer", issuer), slog.String("kid", s.KeyID), slog.String("cause", s.Cause))
		}
	}
}
