package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

func TestRotation_overlaps(t *testing.T) {
	old, err := auth.NewKey("old")
	testkit.Check(t, err)
	before := start(t, func(c *auth.Config) { c.Keys = []auth.KeyConfig{old} })
	token := before.issue(t, &authv1.IssueTokenRequest{Ttl: durationpb.New(3 * time.Hour)}).GetToken()
	fresh, err := auth.NewKey("new")
	testkit.Check(t, err)
	old.Until = before.clock.Now().Add(time.Hour)
	after := start(t, func(c *auth.Config) { c.Keys, c.LostRevocations = []auth.KeyConfig{fresh, old}, auth.LostAllow })
	keys := func() (ids []string) {
		set, err := after.GetKeySet(t.Context(), &authv1.GetKeySetRequest{})
		testkit.Check(t, err)
		for _, k := range set.GetKeys() {
			ids = append(ids, k.GetKid())
			if k.GetKty() != "OKP" || k.GetCrv() != "Ed25519" || k.GetX() == "" || k.GetAlg() != "EdDSA" {
				t.Errorf("key is %v", k)
			}
		}
		return ids
	}
	testkit.Check(t, after.validate(t.Context(), token))
	if got := fmt.Sprint(keys()); got != "[new old]" {
		t.Errorf("keys are %s", got)
	}
	third := start(t, func(c *auth.Config) { c.Keys, c.LostRevocations = []auth.KeyConfig{fresh, old}, auth.LostAllow })
	third.clock.advance(2 * time.Hour)
	if err := third.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("after the overlap: %v", err)
	}
	after.clock.advance(2 * time.Hour)
	if got := fmt.Sprint(keys()); got != "[new]" {
		t.Errorf("keys are %s", got)
	}
}

func TestNew_refusesWeakKeys(t *testing.T) {
	for name, k := range map[string]auth.KeyConfig{
		"short secret": {ID: "k", Algorithm: "HS256", Secret: []byte("short")}, "known secret": {ID: "k", Algorithm: "HS256", Secret: []byte(strings.Repeat("secret", 8))},
		"no PEM": {ID: "k", Algorithm: "EdDSA", PEM: []byte("x")}, "unknown algorithm": {ID: "k", Algorithm: "none"}, "no id": {Algorithm: "EdDSA"},
	} {
		if _, err := auth.New(memory.New(memory.Config{}), auth.Config{Keys: []auth.KeyConfig{k}}); err == nil || strings.Contains(err.Error(), "short") && name != "short secret" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := auth.New(memory.New(memory.Config{}), auth.Config{}); err == nil {
		t.Error("no key is accepted")
	}
}

func TestRefresh_rotatesAndDetectsReuse(t *testing.T) {
	f := start(t)
	first := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
	refresh := func(token string) (*authv1.RefreshTokenResponse, error) {
		return f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: token})
	}
	f.clock.advance(time.Second)
	second, err := refresh(first.GetRefreshToken())
	testkit.Check(t, err)
	testkit.Check(t, f.validate(t.Context(), second.GetToken()))
	f.clock.advance(31 * time.Second)
	if _, err := refresh(first.GetRefreshToken()); !errors.Is(err, bus.ErrRefreshTokenReused) {
		t.Errorf("reuse: %v", err)
	}
	if err := f.validate(t.Context(), second.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("a token of the family: %v", err)
	}
	if _, err := refresh(second.GetRefreshToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("a refresh token of the family: %v", err)
	}
	for _, bad := range []string{"x", "tlr_x", first.GetToken()} {
		if _, err := refresh(bad); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	t.Run("two at once", func(t *testing.T) {
		token := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true}).GetRefreshToken()
		var wg sync.WaitGroup
		pairs := make(chan string, 8)
		for range cap(pairs) {
			wg.Go(func() {
				r, err := f.RefreshToken(context.Background(), &authv1.RefreshTokenRequest{RefreshToken: token})
				if err != nil {
					t.Errorf("error is %v", err)
				}
				pairs <- r.GetToken() + " " + r.GetRefreshToken()
			})
		}
		wg.Wait()
		first := <-pairs
		for range cap(pairs) - 1 {
			if other := <-pairs; other != first {
				t.Errorf("two pairs were made of one: %s and %s", first, other)
			}
		}
	})
}

func TestRevoke_bySubject(t *testing.T) {
	for name, target := range map[string]func(*authv1.IssueTokenResponse, time.Time) *authv1.RevokeTokenRequest{
		"token": func(r *authv1.IssueTokenResponse, _ time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: r.GetToken()}}
		},
		"token id": func(r *authv1.IssueTokenResponse, _ time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_TokenId{TokenId: r.GetTokenId()}}
		},
		"client": func(*authv1.IssueTokenResponse, time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Client{Client: "c1"}}
		},
		"session": func(*authv1.IssueTokenResponse, time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Session{Session: "s1"}}
		},
		"user": func(*authv1.IssueTokenResponse, time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}}
		},
		"issued before": func(_ *authv1.IssueTokenResponse, now time.Time) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: timestamppb.New(now)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			req := &authv1.IssueTokenRequest{Client: "c1", User: "ada", Session: "s1"}
			token := f.issue(t, req)
			testkit.Check(t, f.validate(t.Context(), token.GetToken()))
			_, err := f.RevokeToken(t.Context(), target(token, f.clock.Now()))
			testkit.Check(t, err)
			if err := f.validate(t.Context(), token.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
				t.Errorf("error is %v", err)
			}
			f.clock.advance(2 * time.Millisecond) // in the same second
			testkit.Check(t, f.validate(t.Context(), f.issue(t, req).GetToken()))
		})
	}
	f := start(t)
	for _, bad := range []*authv1.RevokeTokenRequest{
		{},
		{Target: &authv1.RevokeTokenRequest_User{}},
		{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: timestamppb.New(f.clock.Now().Add(time.Hour))}},
	} {
		if _, err := f.RevokeToken(t.Context(), bad); !errors.Is(err, bus.ErrFieldInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestTrust_acceptsAnotherIssuer(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	testkit.Check(t, err)
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "kid": "theirs", "alg": "EdDSA", "use": "sig", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	testkit.Check(t, err)
	f := start(t, func(c *auth.Config) {
		c.Trust = []auth.Trust{{Issuer: "https://login.example", Audience: "us", JWKS: jwks}}
	})
	sign := func(kid string, key any, iss, aud string) string {
		return forge(t, jwt.SigningMethodEdDSA, key, map[string]any{"kid": kid}, jwt.MapClaims{
			"iss": iss, "aud": aud, "sub": "ada", "iat": f.clock.Now().Unix(), "exp": f.clock.Now().Add(time.Hour).Unix(),
			"grants": []any{map[string]any{"a": "*", "can": []string{"publish"}}},
		})
	}
	resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: sign("theirs", private, "https://login.example", "us")})
	testkit.Check(t, err)
	if id := resp.GetIdentity(); id.GetUser() != "ada" || id.GetClient() == "" || len(id.GetGrants()) > 0 {
		t.Errorf("identity is %v", id)
	}
	ours, err := jwt.ParseEdPrivateKeyFromPEM(f.key.PEM)
	testkit.Check(t, err)
	for name, token := range map[string]string{
		"their key in our name": sign("theirs", private, "trunkline", "trunkline"), "our key in their name": sign("k1", ours, "https://login.example", "us"),
		"their audience": sign("theirs", private, "https://login.example", "them"), "nobody": sign("theirs", private, "https://evil.test", "us"),
	} {
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []auth.Trust{
		{Issuer: "a", Audience: "b", JWKSURL: "http://login.example/keys"},
		{Issuer: "a", JWKS: jwks},
		{Issuer: "a", Audience: "b", JWKS: []byte("x")},
		{Issuer: "a", Audience: "b", JWKS: jwks, Algorithms: []string{"HS256"}},
	} {
		if _, err := auth.New(f.store, auth.Config{Keys: []auth.KeyConfig{f.key}, Trust: []auth.Trust{bad}}); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestOpaqueTokens_areValidated(t *testing.T) {
	f := start(t)
	const token = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
	now := f.store.Now()
	value, err := json.Marshal(bus.OpaqueToken{Client: token, Issued: now, Expires: now.Add(time.Hour)})
	testkit.Check(t, err)
	testkit.Check(t, f.store.SaveToken(t.Context(), bus.TokenDigest(token), value, time.Hour))
	resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
	testkit.Check(t, err)
	if resp.GetIdentity().GetClient() != token {
		t.Errorf("identity is %v", resp.GetIdentity())
	}
	f.clock.advance(time.Minute) // the store's clock is the real one
	_, err = f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Client{Client: token}})
	testkit.Check(t, err)
	if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("a revoked opaque token: %v", err)
	}
}
