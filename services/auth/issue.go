package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
)

const (
	maxGroups = 100
	maxGrants = 100
)

// subject is who a token is for, and what a refresh token remembers. Its names are canonical.
type subject struct {
	Client  string        `json:"client"`
	User    string        `json:"user,omitempty"`
	Session string        `json:"session,omitempty"`
	Groups  []string      `json:"groups,omitempty"`
	Grants  []grant       `json:"grants,omitempty"`
	TTL     time.Duration `json:"ttl"`
	Family  string        `json:"family,omitempty"`
	Issued  time.Time     `json:"issued,omitzero"`
	// Seal proves that a refresh token was made for this family. It is no credential: only the newest token refreshes.
	Seal []byte `json:"seal,omitempty"`
}

// IssueToken makes a token for a client.
func (s *Server) IssueToken(ctx context.Context, req *authv1.IssueTokenRequest) (*authv1.IssueTokenResponse, error) {
	sub, err := s.subject(req)
	if err != nil {
		return nil, err
	}
	if req.GetRefreshable() {
		sub.Family, sub.Seal = uuid.NewString(), newSeal()
	}
	p, err := s.issue(sub, s.issueTime(ctx, sub))
	if err != nil {
		return nil, err
	}
	if sub.Family != "" {
		if err := s.beginFamily(ctx, p, sub); err != nil {
			return nil, err
		}
	}
	return &authv1.IssueTokenResponse{
		Token: p.token, TokenId: p.id, Client: sub.Client, ExpireTime: convert.Time(p.expires),
		RefreshToken: p.refresh, RefreshExpireTime: convert.Time(p.refreshExpires),
	}, nil
}

// subject checks the whole request and reports all bad fields together.
func (s *Server) subject(req *authv1.IssueTokenRequest) (subject, error) {
	var bad bus.Invalid
	sub := subject{
		Client: bad.Name("client", req.GetClient()), User: bad.Name("user", req.GetUser()), Session: bad.Name("session", req.GetSession()),
		TTL: s.cfg.AccessTTL,
	}
	if req.GetClient() == "" {
		sub.Client = uuid.NewString()
	}
	if n := len(req.GetGroups()); n > maxGroups {
		bad.Add("groups", "has %d entries, the limit is %d", n, maxGroups)
	} else {
		sub.Groups = bus.ParseNames(&bad, "groups", "group", req.GetGroups())
	}
	if req.GetTtl() != nil {
		sub.TTL = req.GetTtl().AsDuration()
		if !req.GetTtl().IsValid() || sub.TTL < time.Second || sub.TTL > s.cfg.MaxTTL {
			bad.Add("ttl", "is %s, allowed are 1s to %s", sub.TTL, s.cfg.MaxTTL)
		}
	}
	if len(req.GetGrants()) > maxGrants {
		bad.Add("grants", "has %d entries, the limit is %d", len(req.GetGrants()), maxGrants)
	}
	for i, g := range req.GetGrants() {
		sub.Grants = append(sub.Grants, checkGrant(&bad, fmt.Sprintf("grants[%d]", i), g))
	}
	return sub, bad.Err()
}

func checkGrant(bad *bus.Invalid, field string, g *authv1.Grant) grant {
	pattern, err := bus.ParsePattern(g.GetAddress())
	bad.Check(field+".address", err)
	var may bus.Action
	for j, a := range g.GetActions() {
		action, ok := convert.Action(a)
		if !ok {
			bad.Add(fmt.Sprintf("%s.actions[%d]", field, j), "is not one of SUBSCRIBE, PUBLISH, HISTORY, PRESENCE")
		}
		may |= action
	}
	if len(g.GetActions()) == 0 {
		bad.Add(field+".actions", "is empty, at least one is needed")
	}
	return grantClaims([]bus.Grant{{Pattern: pattern, Actions: may}})[0]
}

// pair is a token and its refresh token.
type pair struct {
	token, id      string
	issued         time.Time
	expires        time.Time
	refresh        string
	refreshExpires time.Time
}

// issueMargin is how much older than by the store's clock a token is said to be. That clock is an estimate, and a token must
// never seem younger than a revocation that came after it.
const issueMargin = 100 * time.Millisecond

// issueTime is when a token that nothing is exchanged for counts as issued. Without an answer of the store it is the estimate,
// which may be too early to be let in.
func (s *Server) issueTime(ctx context.Context, sub subject) time.Time {
	now := s.store.Now()
	who := bus.Identity{Client: sub.Client, User: sub.User, Session: sub.Session}
	subjects := who.Subjects()
	times, err := s.store.RevokedBefore(ctx, subjects)
	if err != nil {
		times = nil
	}
	return issuedAfter(now, subjects, times)
}

// issuedAfter is when a token counts as issued, by the store's clock. That is after every revocation of its subject that was
// known at now, and before every later one. So a user who signs in right after a revocation is let in.
func issuedAfter(now time.Time, subjects []bus.Subject, times []time.Time) time.Time {
	at := now.Add(-issueMargin)
	for i, revoked := range times {
		if subjects[i].Kind != bus.SubjectLost {
			revoked = revoked.Add(time.Millisecond)
		}
		if revoked.After(at) && revoked.Before(now.Add(clockSkew)) {
			at = revoked
		}
	}
	return at.Truncate(time.Millisecond)
}

// issue signs a token, and makes a refresh token for a subject that has a family. A token never outlives the key that signed it.
// One that nobody would accept is refused.
func (s *Server) issue(sub subject, issued time.Time) (pair, error) {
	now := s.cfg.Now()
	k := s.ring.Signer(now)
	if k == nil {
		return pair{}, errNoSigner()
	}
	p := pair{id: uuid.NewString(), issued: issued, expires: now.Add(sub.TTL).Truncate(time.Second)}
	if !k.Until.IsZero() && p.expires.After(k.Until) {
		p.expires = k.Until.Truncate(time.Second)
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.cfg.Issuer, Audience: jwt.ClaimStrings{s.cfg.Audience}, Subject: bus.RawName(sub.User), ID: p.id,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(p.expires),
		},
		Client: bus.RawName(sub.Client), Session: bus.RawName(sub.Session), Grants: sub.Grants, Family: sub.Family,
		IssuedMs: p.issued.UnixMilli(),
	}
	for _, g := range sub.Groups {
		c.Groups = append(c.Groups, bus.RawName(g))
	}
	var err error
	if p.token, err = k.Sign(accessType, c); err != nil {
		return pair{}, fmt.Errorf("issue a token: %w", err)
	}
	if err := tooLong(sub, len(p.token)); err != nil {
		return pair{}, err
	}
	s.remember(p.token, sub.identity(p, s.cfg.LostRevocations), k)
	if sub.Family != "" {
		p.refresh, err = newRefreshToken(sub)
		p.refreshExpires = now.Add(s.cfg.RefreshTTL)
	}
	return p, err
}

// tooLong refuses a token that would be too long for every door. It blames what there is most of.
func tooLong(sub subject, bytes int) error {
	if bytes <= bus.MaxToken {
		return nil
	}
	field, groups := "grants", 0
	for _, g := range sub.Groups {
		groups += len(g)
	}
	grants := 0
	for _, g := range sub.Grants {
		grants += len(g.Address)
	}
	if groups > grants {
		field = "groups"
	}
	var bad bus.Invalid
	bad.Add(field, "make a token of %d bytes, the limit is %d; grant prefixes such as channels/orders:*, or fewer", bytes, bus.MaxToken)
	return bad.Err()
}

// identity is who the token of a pair stands for.
func (sub subject) identity(p pair, lost LostRevocations) *bus.Identity {
	id := &bus.Identity{
		Client: sub.Client, User: sub.User, Session: sub.Session, Groups: sub.Groups, TokenID: p.id, Family: sub.Family,
		Issued: time.UnixMilli(p.issued.UnixMilli()), Expires: p.expires, OutlivesLoss: lost == LostAllow,
	}
	for _, g := range sub.Grants {
		pattern, err := bus.ParsePattern(g.Address)
		if err != nil {
			continue // it was checked before
		}
		grant := bus.Grant{Pattern: pattern}
		for _, name := range g.Can {
			grant.Actions |= actionNames[name]
		}
		id.Grants = append(id.Grants, grant)
	}
	return id
}
