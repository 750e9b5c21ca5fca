package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

const (
	// maxTokenBytes bounds what is parsed at all.
	maxTokenBytes = 8 << 10
	// maxTokens is how many one batch may have.
	maxTokens = 1000
	// signatureTrust is how long a signature is not checked again; at the end of its key it is in any case.
	signatureTrust = 5 * time.Minute
)

// ValidateToken says who a token stands for.
func (s *Server) ValidateToken(ctx context.Context, req *authv1.ValidateTokenRequest) (*authv1.ValidateTokenResponse, error) {
	ids, errs := s.validate(ctx, []string{req.GetToken()})
	if errs[0] != nil {
		return nil, errs[0]
	}
	return &authv1.ValidateTokenResponse{Identity: convert.IdentityProto(ids[0])}, nil
}

// BatchValidateTokens validates several tokens: signatures on all cores, revocations in one round trip.
func (s *Server) BatchValidateTokens(ctx context.Context, req *authv1.BatchValidateTokensRequest) (*authv1.BatchValidateTokensResponse, error) {
	var bad bus.Invalid
	if n := len(req.GetTokens()); n == 0 || n > maxTokens {
		bad.Add("tokens", "has %d entries, allowed are 1 to %d", n, maxTokens)
		return nil, bad.Err()
	}
	ids, errs := s.validate(ctx, req.GetTokens())
	resp := &authv1.BatchValidateTokensResponse{Results: make([]*authv1.ValidateTokenResult, len(ids))}
	for i, id := range ids {
		if errs[i] != nil {
			resp.Results[i] = &authv1.ValidateTokenResult{Outcome: &authv1.ValidateTokenResult_Error{Error: rpc.ErrorProto(errs[i])}}
			continue
		}
		resp.Results[i] = &authv1.ValidateTokenResult{Outcome: &authv1.ValidateTokenResult_Identity{Identity: convert.IdentityProto(id)}}
	}
	return resp, nil
}

// validate returns an identity or a refusal for each token.
func (s *Server) validate(ctx context.Context, tokens []string) ([]*bus.Identity, []error) {
	ids := make([]*bus.Identity, len(tokens))
	errs := make([]error, len(tokens))
	if len(tokens) < 8 && s.cfg.Sessions == nil {
		for i, t := range tokens {
			ids[i], errs[i] = s.verify(ctx, t)
		}
	} else {
		var g errgroup.Group
		g.SetLimit(max(runtime.GOMAXPROCS(0), 16)) // some may wait for a resolver
		for i, t := range tokens {
			g.Go(func() error { ids[i], errs[i] = s.verify(ctx, t); return nil })
		}
		_ = g.Wait() // the errors are in errs
	}
	var good []*bus.Identity
	for i, id := range ids {
		if errs[i] == nil {
			good = append(good, id)
		}
	}
	revoked := s.revoked(ctx, good)
	n := 0
	for i := range ids {
		if errs[i] == nil {
			errs[i] = revoked[n]
			n++
		}
	}
	return ids, errs
}

// verify checks everything about a token but whether it was revoked. Outside there is one text for every
// cause but expiry.
func (s *Server) verify(ctx context.Context, token string) (*bus.Identity, error) {
	if token == "" {
		return nil, bus.ErrTokenMissing
	}
	if len(token) > maxTokenBytes {
		return nil, bus.ErrTokenInvalid
	}
	sum := sha256.Sum256([]byte(token))
	if v, ok := s.recent.Get(sum); ok && s.cfg.Now().Before(v.until) {
		return v.identity, nil
	}
	if key, ok := bus.SessionKey(token); ok {
		return s.session(ctx, token, key)
	}
	if strings.Count(token, ".") != 2 {
		return s.opaque(ctx, token)
	}
	v, err := s.parse(token)
	if err != nil {
		return nil, err
	}
	s.recent.Add(sum, v)
	return v.identity, nil
}

// verified is a token whose signature need not be checked again for a while.
type verified struct {
	identity *bus.Identity
	until    time.Time
}

func expired(at time.Time) error {
	return bus.ErrTokenExpired.With("", map[string]string{"expireTime": at.UTC().Format(time.RFC3339)})
}

// parse verifies a JWT by our keys, or by those of the issuer that it names.
func (s *Server) parse(token string) (verified, error) {
	if !compact(token) {
		return verified{}, bus.ErrTokenInvalid
	}
	parser, keyfunc := s.parser, s.keyfunc
	is := s.issuerOf(token)
	if is != nil {
		parser, keyfunc = is.parser(s.cfg.Now), is.key
	}
	c := new(claims)
	t, err := parser.ParseWithClaims(token, c, keyfunc)
	if err != nil && !onlyExpired(err) {
		return verified{}, bus.ErrTokenInvalid.Wrap(err)
	}
	if t.Header["crit"] != nil || t.Header["zip"] != nil || t.Header["cty"] != nil || !plainClaims(token) {
		return verified{}, bus.ErrTokenInvalid
	}
	now := s.cfg.Now()
	until := now.Add(signatureTrust)
	trustGrants := true
	if is == nil {
		if t.Header["typ"] != accessType {
			return verified{}, bus.ErrTokenInvalid
		}
		if k := s.key(t); k != nil && !k.until.IsZero() && k.until.Before(until) {
			until = k.until
		}
	} else {
		trustGrants = is.cfg.TrustGrants
		until = now.Add(min(signatureTrust, is.cfg.KeyAge/2)) // the key itself is looked up again twice in each KeyAge
		if !s.adopt(is, c, token) {
			return verified{}, bus.ErrTokenInvalid
		}
	}
	id, err := c.identity(trustGrants)
	if err != nil {
		return verified{}, bus.ErrTokenInvalid.Wrap(err)
	}
	id.OutlivesLoss = s.cfg.LostRevocations == LostAllow
	if is != nil {
		id.Tolerance = issuerTolerance
		id.OutlivesLoss = is.cfg.LostRevocations == LostAllow || is.cfg.LostRevocations == "" && id.OutlivesLoss
	}
	if !now.Before(id.Expires) {
		return verified{}, expired(id.Expires)
	}
	if id.Expires.Before(until) {
		until = id.Expires
	}
	return verified{identity: id, until: until}, nil
}

// errNoKey is a token whose header names no key of ours.
var errNoKey = errors.New("no such key")

// keyfunc finds the key by the header's kid, and only with the key's own algorithm.
func (s *Server) keyfunc(t *jwt.Token) (any, error) {
	if k := s.key(t); k != nil {
		return k.public, nil
	}
	return nil, errNoKey
}

func (s *Server) key(t *jwt.Token) *key {
	kid, _ := t.Header["kid"].(string)
	for _, k := range s.keys {
		if k.id == kid && k.method.Alg() == t.Method.Alg() && (k.until.IsZero() || s.cfg.Now().Before(k.until)) {
			return k
		}
	}
	return nil
}

// remember keeps what a token says that was signed right now: whoever gets it is likely to show it here soon.
func (s *Server) remember(token string, c *claims, k *key) {
	id, err := c.identity(true)
	if err != nil {
		return
	}
	id.OutlivesLoss = s.cfg.LostRevocations == LostAllow
	until := s.cfg.Now().Add(signatureTrust)
	if !k.until.IsZero() && k.until.Before(until) {
		until = k.until
	}
	if id.Expires.Before(until) {
		until = id.Expires
	}
	s.recent.Add(sha256.Sum256([]byte(token)), verified{identity: id, until: until})
}

// opaque looks up a token of an older system: a UUID that is a client id at the same time.
func (s *Server) opaque(ctx context.Context, token string) (*bus.Identity, error) {
	if len(token) != 36 || uuid.Validate(token) != nil {
		return nil, bus.ErrTokenInvalid
	}
	return s.kept(ctx, token)
}

// opaqueIdentity is who a token of an older system stands for. It is kept in the same store as revocations, and lost with them.
func opaqueIdentity(t bus.OpaqueToken, token string) *bus.Identity {
	id := t.Identity(bus.TokenDigest(token)[:32])
	id.OutlivesLoss = true
	return id
}

// kept looks up what the store keeps of a token.
func (s *Server) kept(ctx context.Context, token string) (*bus.Identity, error) {
	value, err := s.store.Token(ctx, bus.TokenDigest(token))
	if err != nil {
		return nil, err
	}
	var t bus.OpaqueToken
	if err := json.Unmarshal(value, &t); err != nil || t.Client == "" {
		return nil, bus.ErrTokenInvalid
	}
	if !s.cfg.Now().Before(t.Expires) {
		return nil, expired(t.Expires)
	}
	return opaqueIdentity(t, token), nil
}

// session looks up a session of an older system: one that was registered, or one that the resolver knows.
func (s *Server) session(ctx context.Context, token, key string) (*bus.Identity, error) {
	who, err := s.kept(ctx, token)
	if s.cfg.Sessions == nil || !errors.Is(err, bus.ErrTokenNotFound) {
		return who, err
	}
	t, err := s.cfg.Sessions.ResolveSession(ctx, key)
	if err != nil {
		return nil, err
	}
	return opaqueIdentity(t, token), nil
}

// revoked returns for each identity whether its token was revoked, in one round trip for all.
func (s *Server) revoked(ctx context.Context, ids []*bus.Identity) []error {
	errs := make([]error, len(ids))
	if len(ids) == 0 {
		return errs
	}
	subjects := make([]bus.Subject, 0, 2+3*len(ids)) // everybody's two, and three of its own, mostly
	index := make(map[bus.Subject]int)
	var own [8]bus.Subject // more than an identity has
	for _, id := range ids {
		for _, sub := range id.AppendSubjects(own[:0]) {
			if _, ok := index[sub]; !ok {
				index[sub] = len(subjects)
				subjects = append(subjects, sub)
			}
		}
	}
	times, err := s.store.RevokedBefore(ctx, subjects)
	for i, id := range ids {
		if err != nil {
			errs[i] = err // nobody is let in on a guess
			continue
		}
		if refused := id.Refused(func(sub bus.Subject) time.Time { return times[index[sub]] }); refused != nil {
			errs[i] = refused
		}
	}
	return errs
}
