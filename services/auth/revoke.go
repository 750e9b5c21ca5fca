package auth

import (
	"context"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/rpc"
)

// RevokeToken ends tokens before their time.
func (s *Server) RevokeToken(ctx context.Context, req *authv1.RevokeTokenRequest) (*authv1.RevokeTokenResponse, error) {
	var before time.Time // now, as the store says
	var sub bus.Subject
	var bad bus.Invalid
	name := func(field, kind, text string) {
		id, err := bus.ParseName(field, text)
		bad.Check(field, err)
		sub = bus.Subject{Kind: kind, ID: id}
	}
	switch t := req.GetTarget().(type) {
	case *authv1.RevokeTokenRequest_Token:
		if isRefresh(t.Token) {
			return s.revokeRefresh(ctx, t.Token)
		}
		id, err := s.tokenID(ctx, t.Token)
		if err != nil {
			return nil, err
		}
		sub = bus.Subject{Kind: bus.SubjectToken, ID: id}
	case *authv1.RevokeTokenRequest_TokenId:
		bad.Check("token_id", bus.CheckName("token_id", t.TokenId))
		sub = bus.Subject{Kind: bus.SubjectToken, ID: t.TokenId}
	case *authv1.RevokeTokenRequest_Client:
		name("client", bus.SubjectClient, t.Client)
	case *authv1.RevokeTokenRequest_Session:
		name("session", bus.SubjectSession, t.Session)
	case *authv1.RevokeTokenRequest_User:
		name("user", bus.SubjectUser, t.User)
	case *authv1.RevokeTokenRequest_IssuedBefore:
		before = t.IssuedBefore.AsTime()
		switch now := s.store.Now(); {
		case !t.IssuedBefore.IsValid() || before.After(now.Add(clockSkew)):
			bad.Add("issued_before", "is not a time up to now")
		case before.After(now): // by a clock that is ahead
			before = time.Time{}
		}
		sub = bus.Subject{Kind: bus.SubjectAll}
	default:
		bad.Add("target", "is unset; it is one of token, token_id, client, session, user, issued_before")
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if err := s.cfg.Charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Revocations: 1}); err != nil {
		return nil, err
	}
	if err := s.store.Revoke(ctx, sub, before, s.revocationTTL()); err != nil {
		return nil, err
	}
	return &authv1.RevokeTokenResponse{RevokeTime: convert.Time(s.store.Now())}, nil
}

// revokeRefresh ends a refresh token and every token that descends from the same one.
func (s *Server) revokeRefresh(ctx context.Context, token string) (*authv1.RevokeTokenResponse, error) {
	sub, err := s.familyOf(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := s.revokeFamily(ctx, sub.Family); err != nil {
		return nil, err
	}
	return &authv1.RevokeTokenResponse{RevokeTime: convert.Time(s.store.Now())}, nil
}

// revocationTTL is how long a revocation is remembered: longer than any token lives.
func (s *Server) revocationTTL() time.Duration { return s.longestLife() + time.Minute }

// tokenID returns the id of a token that we signed, expired or not.
func (s *Server) tokenID(ctx context.Context, text string) (string, error) {
	if err := bus.CheckToken(text); err != nil {
		return "", err
	}
	if text == "" {
		return "", malformed("form", "it is empty")
	}
	if id, err := s.opaque(ctx, text); err == nil {
		return id.TokenID, nil
	}
	if t, err := jose.Parse(text); err == nil {
		_, err := s.verifyOwn(t)
		if id, _ := t.Claims.Text("jti"); err == nil && id != "" {
			return id, nil
		}
	}
	id, err := s.verify(ctx, text) // of another issuer
	if err != nil {
		return "", err
	}
	return id.TokenID, nil
}
