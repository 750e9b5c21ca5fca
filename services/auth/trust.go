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
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/internal/bus"
)

// Trust is another issuer whose tokens are accepted: they need iat, and end at exp or after the longest life
// of a token of ours, whichever comes first.
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
	// LostRevocations is that of Config for the tokens of this issuer; as there by default.
	LostRevocations LostRevocations
	// Context ends the refreshing of the keys. Required with JWKSURL.
	Context context.Context //nolint:containedctx // the life of a background refresh, not of a call
}

// issuer is a Trust with its keys. Keys are looked up only in the issuer's own set.
type issuer struct {
	cfg  Trust
	keys keyfunc.Keyfunc
}

func newIssuer(t Trust) (*issuer, error) {
	fail := func(format string, args ...any) (*issuer, error) {
		return nil, fmt.Errorf("auth.trust %q: %s", t.Issuer, fmt.Sprintf(format, args...))
	}
	if t.Issuer == "" || t.Audience == "" {
		return fail("issuer and audience are required")
	}
	if len(t.Algorithms) == 0 {
		t.Algorithms = []string{"EdDSA", "ES256", "RS256"}
	}
	for _, a := range t.Algorithms {
		if a == "HS256" || !slices.Contains(Algorithms(), a) {
			return fail("algorithm %q is not one of EdDSA, ES256, RS256", a)
		}
	}
	if t.JWKSURL == "" {
		keys, err := keyfunc.NewJWKSetJSON(json.RawMessage(t.JWKS))
		if err != nil {
			return fail("jwks is not a JWK Set")
		}
		return &issuer{cfg: t, keys: keys}, nil
	}
	u, err := url.Parse(t.JWKSURL)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fail("jwks_url must be https")
	}
	storage, err := jwkset.NewStorageFromHTTP(t.JWKSURL, jwkset.HTTPClientStorageOptions{
		Client: &http.Client{
			Timeout:       5 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Ctx:                       t.Context,
		HTTPTimeout:               5 * time.Second,
		NoErrorReturnFirstHTTPReq: true, // an issuer that is away refuses its own tokens only
		RefreshInterval:           10 * time.Minute,
	})
	if err != nil {
		return fail("cannot read jwks_url")
	}
	client, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{t.JWKSURL: storage},
		RateLimitWaitMax:  time.Second,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(10*time.Second), 1),
	})
	if err != nil {
		return fail("cannot read jwks_url")
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: t.Context, Storage: client})
	if err != nil {
		return fail("cannot read jwks_url")
	}
	return &issuer{cfg: t, keys: keys}, nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// errWeakKey is a key of an issuer that is too short to trust.
var errWeakKey = errors.New("the key is too short")

// key finds the issuer's key by the header's kid; the key names its own algorithm, or has the one type that the
// token's algorithm takes.
func (i *issuer) key(t *jwt.Token) (any, error) {
	k, err := i.keys.Keyfunc(t)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is wrapped by the parser
	}
	if public, ok := k.(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
		return nil, errWeakKey
	}
	return k, nil
}

// adopt makes the claims of another issuer ours: what only we may say is dropped, a missing or unreadable id
// becomes a digest, and the token lives no longer than revocations are remembered. It returns false for
// a token that does not say when it was issued: it could not be revoked.
func (s *Server) adopt(c *claims, token string) bool {
	if c.IssuedAt == nil {
		return false
	}
	c.Family, c.IssuedMs = "", 0
	if bus.CheckName("jti", c.ID) != nil {
		c.ID = digest(token)[:32]
	}
	if longest := c.IssuedAt.Add(s.longestLife()); c.ExpiresAt.After(longest) {
		c.ExpiresAt = jwt.NewNumericDate(longest)
	}
	return true
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
