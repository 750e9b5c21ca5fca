package jose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ring is our own keys. It is immutable.
type Ring struct {
	// Keys are in the order of the configuration: the first that is private and has not ended signs.
	Keys []*Key
	// Algorithms are those that are accepted in our own tokens.
	Algorithms []string
}

// NewRing reads keys. Without algorithms, each key allows its own. It fails for a key that cannot be used, and when none can
// sign now.
func NewRing(configs []KeyConfig, algorithms []string, now time.Time) (*Ring, error) {
	r := &Ring{Algorithms: slices.Clone(algorithms)}
	if len(configs) == 0 {
		return nil, errors.New("no key is configured")
	}
	for i, c := range configs {
		k, err := ParseKey(c)
		switch {
		case err != nil:
			return nil, fmt.Errorf("key %q: %w", c.ID, err)
		case i == 0 && !k.Signs():
			return nil, fmt.Errorf("key %q: the first key signs, so it must be a private one", c.ID)
		case slices.ContainsFunc(r.Keys, func(other *Key) bool { return other.ID == k.ID }):
			return nil, fmt.Errorf("key %q is configured twice", c.ID)
		case len(algorithms) == 0:
			r.Algorithms = append(r.Algorithms, k.Algorithm)
		case !slices.Contains(algorithms, k.Algorithm):
			return nil, fmt.Errorf("key %q: its algorithm %s is not in auth.algorithms", k.ID, k.Algorithm)
		}
		r.Keys = append(r.Keys, k)
	}
	for _, a := range r.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return nil, fmt.Errorf("algorithm %q is not one of %s", a, strings.Join(Algorithms(), ", "))
		}
	}
	return r, r.Check(now)
}

// Check returns an error when no key can sign.
func (r *Ring) Check(now time.Time) error {
	if r.Signer(now) == nil {
		return fmt.Errorf("no key can sign: the last one of auth.keys ended at %s", r.LastEnd().UTC().Format(time.RFC3339))
	}
	return nil
}

// Signer returns the key that signs now; nil when all that could have ended.
func (r *Ring) Signer(now time.Time) *Key {
	for _, k := range r.Keys {
		if k.Signs() && !k.Ended(now) {
			return k
		}
	}
	return nil
}

// LastEnd is when the last key ends that signs; zero when one never does.
func (r *Ring) LastEnd() time.Time {
	var last time.Time
	for _, k := range r.Keys {
		switch {
		case !k.Signs():
		case k.Until.IsZero():
			return time.Time{}
		case k.Until.After(last):
			last = k.Until
		}
	}
	return last
}

// ErrNoKey is a token that names no key of the ring for its algorithm.
var ErrNoKey = errors.New("no such key")

// Find returns the key that a token names, if it may have been signed with it.
func (r *Ring) Find(t *Token, now time.Time) (*Key, error) {
	for _, k := range r.Keys {
		if k.ID != t.KeyID || k.Algorithm != t.Algorithm {
			continue
		}
		if k.Ended(now) {
			return nil, fmt.Errorf("%w: it ended at %s", ErrNoKey, k.Until.UTC().Format(time.RFC3339))
		}
		return k, nil
	}
	return nil, ErrNoKey
}
