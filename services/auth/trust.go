package auth

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Trust is another issuer whose tokens are accepted. They need iat, and end at exp or after the longest life of a token of ours,
// whichever comes first.
type Trust struct {
	// Issuer is its claim iss, and Audience the claim aud that it gives tokens for us. Required.
	Issuer, Audience string
	// JWKSURL is where its keys are: https, or http on a loopback address. Either this or JWKS.
	JWKSURL string
	// JWKS is its keys as a JWK Set.
	JWKS []byte
	// Algorithms that are accepted from it; EdDSA, ES256 and RS256 by default, never HS256.
	Algorithms []string
	// TrustGrants believes its claim grants; otherwise its tokens grant nothing but their own addresses.
	TrustGrants bool
	// LostRevocations is like Config.LostRevocations, for the tokens of this issuer; the same as there by default.
	LostRevocations LostRevocations
	// KeyAge is how long a key that the issuer has withdrawn may be believed; 60 s by default.
	KeyAge time.Duration
	// UserPrefix begins the names of its users, clients, sessions and groups here, such as "acme:", so that they are not those of
	// another issuer.
	UserPrefix string
	// ShareUsers lets its names be those of other issuers too. Without it, two issuers whose prefixes overlap are refused.
	ShareUsers bool
	// Context ends the refreshing of the keys. Required with JWKSURL.
	Context context.Context //nolint:containedctx // the life of a background refresh, not of a call
}

// issuer is a Trust with its keys. Keys are looked up only in the issuer's own set.
type issuer struct {
	cfg  Trust
	keys atomic.Pointer[keyfunc.Keyfunc]

	mu   sync.Mutex // of reading again
	stop context.CancelFunc
}

// keyAge is the default of Trust.KeyAge.
const keyAge = 60 * time.Second

func newIssuer(t Trust) (*issuer, error) {
	fail := func(format string, args ...any) (*issuer, error) {
		return nil, fmt.Errorf("auth.trust %q: %s", t.Issuer, fmt.Sprintf(format, args...))
	}
	if t.Issuer == "" || t.Audience == "" {
		return fail("issuer and audience are required")
	}
	if t.UserPrefix != "" {
		if err := bus.CheckName("user_prefix", t.UserPrefix+"x"); err != nil {
			return fail("%s", err)
		}
	}
	if t.KeyAge <= 0 {
		t.KeyAge = keyAge
	}
	if len(t.Algorithms) == 0 {
		t.Algorithms = []string{"EdDSA", "ES256", "RS256"}
	}
	for _, a := range t.Algorithms {
		if a == "HS256" || !slices.Contains(Algorithms(), a) {
			return fail("algorithm %q is not one of EdDSA, ES256, RS256", a)
		}
	}
	is := &issuer{cfg: t, stop: func() {}}
	if t.JWKSURL == "" {
		keys, err := keyfunc.NewJWKSetJSON(json.RawMessage(t.JWKS))
		if err != nil {
			return fail("jwks is not a JWK Set")
		}
		is.keys.Store(&keys)
		return is, nil
	}
	u, err := url.Parse(t.JWKSURL)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fail("jwks_url must be https")
	}
	if err := is.read(true); err != nil { // an issuer that is away refuses its own tokens only
		return fail("cannot read jwks_url")
	}
	return is, nil
}

// read makes the key set anew: it is read now, and again twice in each KeyAge. After an error the set before stays; with patient
// a set that cannot be read yet is none.
func (i *issuer) read(patient bool) error {
	if i.cfg.JWKSURL == "" {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	ctx, stop := context.WithCancel(i.cfg.Context)
	keys, err := i.keySet(ctx, patient)
	if err != nil {
		stop()
		return err
	}
	i.keys.Store(&keys)
	i.stop()
	i.stop = stop
	return nil
}

func (i *issuer) keySet(ctx context.Context, patient bool) (keyfunc.Keyfunc, error) {
	storage, err := jwkset.NewStorageFromHTTP(i.cfg.JWKSURL, jwkset.HTTPClientStorageOptions{
		Client: &http.Client{
			Timeout:       5 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Ctx:                       ctx,
		HTTPTimeout:               5 * time.Second,
		NoErrorReturnFirstHTTPReq: patient,
		RefreshInterval:           i.cfg.KeyAge / 2,
	})
	if err != nil {
		return nil, fmt.Errorf("read a key set: %w", err)
	}
	client, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{i.cfg.JWKSURL: storage},
		RateLimitWaitMax:  time.Second,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(10*time.Second), 1),
	})
	if err != nil {
		return nil, fmt.Errorf("read a key set: %w", err)
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: client})
	if err != nil {
		return nil, fmt.Errorf("read a key set: %w", err)
	}
	return keys, nil
}

// overlap says whether a name of one issuer may be one of the other.
func (i *issuer) overlap(other *issuer) bool {
	a, b := i.cfg.UserPrefix, other.cfg.UserPrefix
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// RefreshKeySets reads the key sets of all issuers again.
func (s *Server) RefreshKeySets(context.Context, *authv1.RefreshKeySetsRequest) (*authv1.RefreshKeySetsResponse, error) {
	resp := &authv1.RefreshKeySetsResponse{}
	var failed error
	for _, is := range s.trust {
		if err := is.read(false); err != nil {
			failed = bus.ErrUnavailable.With("the key set of "+is.cfg.Issuer+" cannot be read; the one before stays", nil).Wrap(err)
			continue
		}
		resp.Issuers = append(resp.Issuers, is.cfg.Issuer)
	}
	s.recent.Purge() // whatever was verified by a key that may be gone
	return resp, failed
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// errWeakKey is a key of an issuer that is too short to trust.
var errWeakKey = errors.New("the key is too short")

// key finds the issuer's key by the header's kid; the key names its own algorithm, or has the one type that the
// token's algorithm takes.
func (i *issuer) key(t *jwt.Token) (any, error) {
	k, err := (*i.keys.Load()).Keyfunc(t)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is wrapped by the parser
	}
	if public, ok := k.(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
		return nil, errWeakKey
	}
	return k, nil
}

// adopt makes the claims of another issuer ours. What only we may say is dropped, a missing or unreadable id becomes a digest,
// and the token lives no longer than revocations are remembered. It returns false for a token that does not say when it was
// issued: it could not be revoked.
func (s *Server) adopt(is *issuer, c *claims, token string) bool {
	if c.IssuedAt == nil {
		return false
	}
	c.Family, c.IssuedMs = "", 0
	if bus.CheckName("jti", c.ID) != nil {
		c.ID = bus.TokenDigest(token)[:32]
	}
	if prefix := is.cfg.UserPrefix; prefix != "" {
		c.prefix(prefix)
	}
	if longest := c.IssuedAt.Add(s.longestLife()); c.ExpiresAt.After(longest) {
		c.ExpiresAt = jwt.NewNumericDate(longest)
	}
	return true
}

// prefix gives every name in the claims a prefix, the id that stands for a missing client too.
func (c *claims) prefix(prefix string) {
	if c.Client == "" {
		c.Client = c.ID
	}
	c.Client = prefix + c.Client
	for _, name := range []*string{&c.Subject, &c.Session} {
		if *name != "" {
			*name = prefix + *name
		}
	}
	for i := range c.Groups {
		c.Groups[i] = prefix + c.Groups[i]
	}
}

func (i *issuer) parser(now func() time.Time) *jwt.Parser {
	return newParser(i.cfg.Issuer, i.cfg.Audience, i.cfg.Algorithms, now)
}

// issuerOf returns the trusted issuer that an unverified token names; nil for us. It only chooses
// which configured keys verify the token: no address is ever taken from a token.
func (s *Server) issuerOf(token string) *issuer {
	if len(s.trust) == 0 {
		return nil
	}
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		return nil
	}
	for _, is := range s.trust {
		if is.cfg.Issuer == c.Issuer {
			return is
		}
	}
	return nil
}
