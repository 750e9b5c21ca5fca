package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/trust"
)

// signatureTrust is how long a signature is not checked again; at the end of its key it is in any case.
const signatureTrust = 5 * time.Minute

// verified is a token whose signature need not be checked again for a while.
type verified struct {
	identity *bus.Identity
	until    time.Time
}

func expired(at time.Time) error {
	return bus.ErrTokenExpired.With("", map[string]string{"expireTime": at.UTC().Format(time.RFC3339)})
}

// parse verifies a JWT by our keys, or by those of the issuer that it names. The issuer only chooses which configured keys verify
// the token: no address is ever taken from a token.
func (s *Server) parse(ctx context.Context, text string) (verified, error) {
	t, err := jose.Parse(text)
	if err != nil {
		return verified{}, malformed("form", err.Error())
	}
	issuer, ok := t.Claims.Text("iss")
	if !ok {
		return verified{}, invalid("iss", t.Claims["iss"], "a text")
	}
	if issuer == s.cfg.Issuer {
		return s.parseOwn(t)
	}
	for _, is := range s.trust {
		if is.Issuer.Issuer == issuer {
			return s.parseForeign(ctx, is, t, text)
		}
	}
	return verified{}, invalid("iss", issuer, fmt.Sprintf("%q, or an issuer in auth.trust", s.cfg.Issuer))
}

// parseOwn verifies a token that says it is ours.
func (s *Server) parseOwn(t *jose.Token) (verified, error) {
	if typ, _ := t.Header.Text("typ"); typ != accessType {
		return verified{}, invalid("typ", t.Header["typ"], fmt.Sprintf("%q", accessType))
	}
	if !slices.Contains(s.ring.Algorithms, t.Algorithm) {
		return verified{}, invalid("alg", t.Algorithm, "one of "+strings.Join(s.ring.Algorithms, ", "))
	}
	k, err := s.verifyOwn(t)
	if err != nil {
		return verified{}, err
	}
	c := common{claimReader: claimReader{claims: t.Claims}, now: s.cfg.Now(), leeway: s.cfg.Leeway}
	c.spelled(ownClaims)
	c.read(s.cfg.Audience)
	id := &bus.Identity{
		Client: c.text("cid"), User: c.text("sub"), Session: c.text("sid"), Groups: c.texts("grp"),
		TokenID: c.text("jti"), Family: c.text("fam"),
		Issued: c.issued, Expires: c.expires, OutlivesLoss: s.cfg.LostRevocations == LostAllow,
	}
	if ms, ok := c.number("ims", endOfTime*1000); ok && ms > 0 {
		id.Issued = time.UnixMilli(int64(ms))
	} else {
		id.Tolerance = s.noticed(&s.lead, c.ahead(), 0)
	}
	id.Grants, err = grantsOf("grants", t.Claims["grants"])
	if c.err == nil && err != nil {
		c.err = err
	}
	if err := c.done(id, "cid", "sub", "sid", "grp"); err != nil {
		return verified{}, err
	}
	return s.trusted(id, signatureTrust, k.Until)
}

// parseForeign verifies a token of another issuer. What only we may say means nothing there, but what the issuer's settings name.
// The token lives no longer than revocations are remembered, and has to say when it was issued: else it could not be revoked.
func (s *Server) parseForeign(ctx context.Context, is *issuer, t *jose.Token, text string) (verified, error) {
	if !slices.Contains(is.Algorithms, t.Algorithm) {
		return verified{}, invalid("alg", t.Algorithm, "one of "+strings.Join(is.Algorithms, ", ")+", as the issuer's algorithms say")
	}
	if err := is.Verify(ctx, t); err != nil {
		return verified{}, unverified(t, err)
	}
	c := common{claimReader: claimReader{claims: t.Claims}, now: s.cfg.Now(), leeway: s.cfg.Leeway}
	mapped := is.Claims
	c.spelled(append([]string{mapped.User, mapped.Client, mapped.Session, mapped.Groups, mapped.Grants}, registeredClaims...))
	c.read(is.Audience)
	if c.issued.IsZero() {
		c.fail("iat", nil, "the time of issue")
	}
	sub, err := is.Subject(t.Claims, text)
	if err != nil && c.err == nil {
		c.err = foreign(err)
	}
	id := &bus.Identity{
		Client: sub.Client, DerivedClient: sub.Derived, User: sub.User, Session: sub.Session, Groups: sub.Groups, TokenID: sub.TokenID,
		Issued: c.issued, Expires: c.expires, Tolerance: s.noticed(&is.lead, c.ahead(), clockSkew),
	}
	id.OutlivesLoss = is.LostRevocations == LostAllow || is.LostRevocations == "" && s.cfg.LostRevocations == LostAllow
	if longest := id.Issued.Add(s.longestLife()); id.Expires.After(longest) {
		id.Expires = longest
	}
	id.Grants, err = grantsOf(mapped.Grants, sub.Grants)
	if c.err == nil && err != nil {
		c.err = err
	}
	user := mapped.User
	if user == "" {
		user = "sub"
	}
	if err := c.done(id, mapped.Client, user, mapped.Session, mapped.Groups); err != nil {
		return verified{}, err
	}
	return s.trusted(id, min(signatureTrust, is.KeyAge/2), time.Time{}) // the key itself is looked up again twice in each KeyAge
}

// noticed returns how far the time of issue may be off. Tokens that were remembered with less are forgotten.
func (s *Server) noticed(l *lead, ahead, least time.Duration) time.Duration {
	if ahead <= s.cfg.Leeway && l.observe(ahead) && ahead > least {
		s.recent.Purge()
	}
	return l.tolerance(least)
}

// unverified is the refusal of a token whose signature was not verified.
func unverified(t *jose.Token, err error) error {
	switch {
	case errors.Is(err, bus.ErrAuthUnavailable):
		return err
	case errors.Is(err, trust.ErrNoKey):
		return invalid("kid", t.KeyID, fmt.Sprintf("a key of the issuer's set for %s", t.Algorithm))
	}
	return invalid("signature", "kid "+t.KeyID, "one that a key of the issuer made")
}

// foreign turns a refused claim of another issuer into a refusal.
func foreign(err error) error {
	if c, ok := errors.AsType[*trust.ClaimError](err); ok {
		return invalid(c.Claim, c.Value, c.Want)
	}
	return malformed("claims", err.Error())
}

// trusted says until when a token is believed without another look: its end, that of its key, and no longer than a time. A token
// that has ended is told so here, after everything else was right.
func (s *Server) trusted(id *bus.Identity, long time.Duration, key time.Time) (verified, error) {
	now := s.cfg.Now()
	if !now.Before(id.Expires) {
		return verified{}, expired(id.Expires)
	}
	until := now.Add(long)
	for _, end := range []time.Time{key, id.Expires} {
		if !end.IsZero() && end.Before(until) {
			until = end
		}
	}
	return verified{identity: id, until: until}, nil
}

// common reads the claims that every token has.
type common struct {
	claimReader
	now    time.Time
	leeway time.Duration

	issued, expires time.Time
}

// spelled refuses a claim whose name is another spelling of one that means something.
func (c *common) spelled(names []string) {
	if name, ok := c.claims.Folded(names...); ok {
		c.fail("claims", name, "no other spelling of a claim that is read")
	}
}

// read reads the times and the audience, which may be one or a list.
func (c *common) read(audience string) {
	c.issued, c.expires = c.moment("iat"), c.moment("exp")
	if c.expires.IsZero() {
		c.fail("exp", c.claims["exp"], "the time of its end")
	}
	switch aud := c.claims["aud"].(type) {
	case string:
		if aud == audience {
			return
		}
	case []any:
		if _, ok := textsOf(aud); ok && slices.Contains(aud, any(audience)) {
			return
		}
	}
	c.fail("aud", c.claims["aud"], fmt.Sprintf("%q", audience))
}

// ahead is how far in the future the token was issued.
func (c *common) ahead() time.Duration { return c.issued.Sub(c.now) }

// done checks the names and then the times, and returns the first thing that is wrong. The names of the identity, which are raw, become
// canonical. A token of a clock that is further ahead than the leeway is answered as not yet valid. The arguments are the claims
// that the names come from.
func (c *common) done(id *bus.Identity, client, user, session, groups string) error {
	if err := bus.CheckName("it", id.TokenID); err != nil {
		c.fail("jti", id.TokenID, "a name: "+err.Error())
	}
	if id.Client == "" {
		id.Client = id.TokenID
	}
	id.Client, id.User, id.Session = c.name(client, id.Client), c.name(user, id.User), c.name(session, id.Session)
	list := id.Groups
	id.Groups = nil
	for i, g := range list {
		if name := c.name(fmt.Sprintf("%s[%d]", groups, i), g); name != "" {
			id.Groups = append(id.Groups, name)
		}
	}
	starts := c.moment("nbf")
	if c.err != nil {
		return c.err
	}
	if err := c.early("nbf", starts); err != nil {
		return err
	}
	return c.early("iat", c.issued)
}

// early refuses a token until a time has come, but for the leeway.
func (c *common) early(claim string, at time.Time) error {
	from := c.now.Add(c.leeway)
	if !at.After(from) {
		return nil
	}
	want := fmt.Sprintf("a time up to %s, auth.leeway included", from.UTC().Format(time.RFC3339))
	return refused(bus.ErrTokenNotYetValid, claim, at.Format(time.RFC3339), want).Retry(min(max(at.Sub(from), time.Second), time.Minute))
}

// name returns the canonical form of a name; empty for none.
func (c *common) name(claim, raw string) string {
	if raw == "" {
		return ""
	}
	name, err := bus.NameOf("it", raw)
	if err != nil {
		c.fail(claim, raw, "a name: "+err.Error())
	}
	return name
}

// remember keeps what a token says that was signed right now: whoever gets it is likely to show it here soon.
func (s *Server) remember(token string, id *bus.Identity, k *jose.Key) {
	v, err := s.trusted(id, signatureTrust, k.Until)
	if err == nil {
		s.recent.Add(sha256.Sum256([]byte(token)), v, identitySize(token))
	}
}
