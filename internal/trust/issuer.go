// Package trust is about tokens of other issuers: their keys, and what their claims mean here.
package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/loopback"
)

// Config is another issuer whose tokens are accepted. They need iat, and end at exp or after the longest life of a token of ours,
// whichever comes first.
type Config struct {
	// Issuer is its claim iss, and Audience the claim aud that it gives tokens for us. Required.
	Issuer, Audience string
	// JWKSURL is where its keys are: https, or http on a loopback address. Either this or JWKS.
	JWKSURL string
	// JWKS is its keys as a JWK Set.
	JWKS []byte
	// Algorithms that are accepted from it; EdDSA, ES256 and RS256 by default, never HS256.
	Algorithms []string
	// Claims says which of its claims mean something here.
	Claims Claims
	// TrustGrants is short for the claim grants in Claims.Grants.
	TrustGrants bool
	// LostRevocations says what becomes of its tokens that were issued before revocations may have been lost. Empty for the same as
	// of ours.
	LostRevocations LostRevocations
	// KeyAge is how long a key that the issuer has withdrawn may be believed; 60 s by default.
	KeyAge time.Duration
	// UserPrefix begins the names of its users, clients, sessions and groups here, such as "acme:", so that they are not those of
	// another issuer.
	UserPrefix string
	// ShareUsers lets its names be those of other issuers too. Without it, two issuers whose prefixes overlap are refused.
	ShareUsers bool
}

// LostRevocations is what becomes of a token that was issued before the store lost revocations: it may have been revoked.
type LostRevocations string

// The choices.
const (
	// LostExpire answers it as expired: its owner gets a new one, if it may.
	LostExpire LostRevocations = "expire"
	// LostAllow believes it.
	LostAllow LostRevocations = "allow"
)

// KeyAge is the default of Config.KeyAge.
const KeyAge = 60 * time.Second

// Issuer is a Config with its keys. Keys are looked up only in the issuer's own set. It may be used concurrently.
type Issuer struct {
	Config
	fixed  []*jose.Key // of Config.JWKS
	remote *remote     // of Config.JWKSURL; nil without
}

// New returns an issuer. It fails when the configuration is wrong. No key is read from elsewhere before Run or Refresh.
func New(c Config, now func() time.Time, log *slog.Logger) (*Issuer, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("auth.trust %q: %w", c.Issuer, err)
	}
	i := &Issuer{Config: c}
	if c.JWKSURL != "" {
		i.remote = newRemote(c, now, log)
		return i, nil
	}
	keys, skipped, err := jose.ParseSet(c.JWKS, c.Algorithms)
	if err != nil {
		return nil, fmt.Errorf("auth.trust %q: jwks: %w", c.Issuer, err)
	}
	i.fixed = keys
	warnSkipped(log, c.Issuer, nil, skipped)
	return i, nil
}

// Check returns an error for a list of issuers of which one is wrong, is configured twice, or is ours. So it does for two of which
// one could name the users of the other.
func Check(ours string, list []Config) error {
	for i, c := range list {
		c = c.withDefaults()
		if err := c.check(); err != nil {
			return fmt.Errorf("auth.trust %q: %w", c.Issuer, err)
		}
		if c.Issuer == ours {
			return fmt.Errorf("auth.trust %q: the issuer is auth.issuer, our own", c.Issuer)
		}
		for _, other := range list[:i] {
			if c.Issuer == other.Issuer {
				return fmt.Errorf("auth.trust %q: the issuer is configured twice", c.Issuer)
			}
			if c.overlaps(other) && (!c.ShareUsers || !other.ShareUsers) {
				return fmt.Errorf("auth.trust %q and %q: a user of one would be a user of the other; give them a user_prefix of their own, or both share_users",
					c.Issuer, other.Issuer)
			}
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.KeyAge <= 0 {
		c.KeyAge = KeyAge
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = jose.PublicAlgorithms()
	}
	if c.TrustGrants && c.Claims.Grants == "" {
		c.Claims.Grants = "grants"
	}
	return c
}

// check returns everything that is wrong with one issuer.
func (c Config) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Issuer == "" || c.Audience == "" {
		fail("issuer and audience are required")
	}
	if c.UserPrefix != "" {
		if _, err := bus.NameOf("user_prefix", c.UserPrefix+"x"); err != nil {
			errs = append(errs, err)
		}
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(jose.PublicAlgorithms(), a) {
			fail("algorithm %q is not one of %s", a, strings.Join(jose.PublicAlgorithms(), ", "))
		}
	}
	if err := c.Claims.Check(); err != nil {
		errs = append(errs, err)
	}
	if c.TrustGrants && c.Claims.Grants != "grants" {
		fail("trust_grants and claims.grants name two claims; leave one out")
	}
	if c.JWKSURL != "" && !safeURL(c.JWKSURL) {
		fail("jwks_url %q is not https: whoever is in between could sign tokens", c.JWKSURL)
	}
	return errors.Join(errs...)
}

// safeURL says whether keys may be read from there.
func safeURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback.Host(u.Host))
}

// overlaps says whether a name of one issuer may be one of the other.
func (c Config) overlaps(other Config) bool {
	a, b := c.UserPrefix, other.UserPrefix
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// Run reads the keys again and again until ctx ends. It returns nil.
func (i *Issuer) Run(ctx context.Context) error {
	if i.remote != nil {
		i.remote.run(ctx)
	}
	return nil
}

// Refresh reads the keys now. After an error those before stay.
func (i *Issuer) Refresh(ctx context.Context) error {
	if i.remote == nil {
		return nil
	}
	return i.remote.read(ctx)
}

// Ready returns nil when the keys were read, and the last time that they were to be.
func (i *Issuer) Ready() error {
	if i.remote == nil {
		return nil
	}
	return i.remote.ready()
}

// Remote says whether its keys are read from elsewhere.
func (i *Issuer) Remote() bool { return i.remote != nil }

// ErrNoKey is a token that no key of the set fits.
var ErrNoKey = errors.New("no key of the set fits")

// Verify says whether a key of the issuer signed the token. Besides errors about the token it returns ErrAuthUnavailable with a time
// to come back. Then the key may be one that was not read yet.
func (i *Issuer) Verify(ctx context.Context, t *jose.Token) error {
	if i.remote == nil {
		return verify(t, i.fixed)
	}
	keys, err := i.remote.keys(ctx, t.KeyID)
	if err != nil {
		return err
	}
	return verify(t, keys)
}

// verify tries the keys that the token may have been signed with: the one that it names, or every one of its algorithm.
func verify(t *jose.Token, keys []*jose.Key) error {
	failed := fmt.Errorf("%w: kid %.64q", ErrNoKey, t.KeyID)
	for _, k := range keys {
		if t.KeyID != "" && k.ID != t.KeyID || t.KeyID == "" && k.Algorithm != t.Algorithm {
			continue
		}
		err := t.Verify(k)
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}
