package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// maxTokens is how many one batch may have.
const maxTokens = 1000

// ValidateToken says who a token stands for.
func (s *Server) ValidateToken(ctx context.Context, req *authv1.ValidateTokenRequest) (*authv1.ValidateTokenResponse, error) {
	ids, errs := s.validate(ctx, []string{req.GetToken()}, req.GetExplain())
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
	ids, errs := s.validate(ctx, req.GetTokens(), req.GetExplain())
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

// validate returns an identity or a refusal for each token. The causes of refusals go into the log, and into the refusals with
// explain or in development mode.
func (s *Server) validate(ctx context.Context, tokens []string, explain bool) ([]*bus.Identity, []error) {
	ids, errs := s.check(ctx, tokens)
	for i, err := range errs {
		if err == nil {
			continue
		}
		s.teller.tell(err)
		if explain || s.cfg.Explain {
			errs[i] = explained(err)
		}
	}
	return ids, errs
}

// check returns an identity or a refusal for each token.
func (s *Server) check(ctx context.Context, tokens []string) ([]*bus.Identity, []error) {
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

// identitySize is about how many bytes the identity of a token takes.
func identitySize(token string) int { return 512 + len(token) }

// verify checks everything about a token but whether it was revoked. A refusal wraps its cause.
func (s *Server) verify(ctx context.Context, token string) (*bus.Identity, error) {
	if token == "" {
		return nil, bus.ErrTokenMissing
	}
	if err := bus.CheckToken(token); err != nil {
		return nil, err
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
	v, err := s.parse(ctx, token)
	if err != nil {
		return nil, err
	}
	s.recent.Add(sum, v, identitySize(token))
	return v.identity, nil
}

// opaque looks up a token of an older system: a UUID that is a client id at the same time.
func (s *Server) opaque(ctx context.Context, token string) (*bus.Identity, error) {
	if len(token) != 36 || uuid.Validate(token) != nil {
		return nil, malformed("form", fmt.Sprintf("it has %d dots, where a signed token has 2, and is no UUID", strings.Count(token, ".")))
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
	if err := json.Unmarshal(value, &t); err != nil || !t.Sound() {
		return nil, unreadable("token", bus.TokenDigest(token))
	}
	if !s.cfg.Now().Before(t.Expires) {
		return nil, expired(t.Expires)
	}
	return opaqueIdentity(t, token), nil
}

// unreadable refuses a token of which the store has something that we did not write. The log tells the name.
func unreadable(kind, name string) *bus.Error {
	return malformed("record", "the store has something else in the place of the "+kind+" "+name)
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
