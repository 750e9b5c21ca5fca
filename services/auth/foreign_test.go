package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// of returns the claims of a token of the login, with more of them or others.
func (l *login) of(f fixture, more jwt.MapClaims) jwt.MapClaims {
	now := f.clock.Now()
	c := jwt.MapClaims{"iss": l.name, "aud": "us", "sub": "ada", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for name, value := range more {
		c[name] = value
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func (l *login) claims(t *testing.T, f fixture, more jwt.MapClaims) string {
	t.Helper()
	return forge(t, jwt.SigningMethodEdDSA, l.private, map[string]any{"kid": "theirs"}, l.of(f, more))
}

// trusting returns a server that trusts the login as the settings say.
func trusting(t *testing.T, l *login, edit func(*auth.Trust)) fixture {
	t.Helper()
	return start(t, func(c *auth.Config) {
		one := auth.Trust{Issuer: l.name, Audience: "us", JWKS: l.set}
		if edit != nil {
			edit(&one)
		}
		c.Trust = []auth.Trust{one}
	})
}

func (f fixture) identity(t *testing.T, token string) *authv1.Identity {
	t.Helper()
	resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token, Explain: true})
	testkit.Check(t, err)
	return resp.GetIdentity()
}

// An application's id in cid is the same for all of its users, so it must not make them one client.
func TestTrust_ourClaimNamesMeanNothingInATokenOfOthers(t *testing.T) {
	okta := startLogin(t, "https://okta.example")
	f := trusting(t, okta, nil)
	seen := map[string]bool{}
	for i, user := range []string{"alice", "bob", "alice"} {
		token := okta.claims(t, f, jwt.MapClaims{
			"sub": user, "jti": fmt.Sprint("AT.", i), "cid": "0oabskvc6442nkvQO0h7", "sid": "one", "grp": []string{"admins"}, "fam": "f",
			"ims": f.clock.Now().Add(time.Hour).UnixMilli(), "grants": []any{map[string]any{"a": "*", "can": []string{"publish"}}},
		})
		id := f.identity(t, token)
		if id.GetUser() != user || id.GetSession() != "" || len(id.GetGroups()) > 0 || len(id.GetGrants()) > 0 || id.GetFamily() != "" {
			t.Errorf("it stands for %v", id)
		}
		if seen[id.GetClient()] || !id.GetDerivedClient() || strings.Contains(id.GetClient(), "0oab") {
			t.Errorf("the client is %s, which is another's too, or the application", id.GetClient())
		}
		seen[id.GetClient()] = true
		if id.GetIssueTime().AsTime().After(f.clock.Now()) {
			t.Errorf("it was issued at %v", id.GetIssueTime().AsTime())
		}
	}
	// They may have any form there: they are not ours.
	f.identity(t, okta.claims(t, f, jwt.MapClaims{"cid": 7, "sid": []string{"x"}, "grp": "admins", "grants": "all", "fam": 1, "ims": "x"}))
}

// Two users never get the same client id, even from an issuer that gives all its tokens one jti. One session is one client.
func TestTrust_derivesTheClientFromUserAndDevice(t *testing.T) {
	l := startLogin(t, "https://login.example")
	f := trusting(t, l, func(c *auth.Trust) { c.Claims.Session = "sid" })
	client := func(user, session, jti string) string {
		claims := jwt.MapClaims{"sub": user, "jti": jti, "sid": session}
		if session == "" {
			claims["sid"] = nil
		}
		return f.identity(t, l.claims(t, f, claims)).GetClient()
	}
	if client("ada", "", "same") == client("bob", "", "same") || client("ada", "s", "1") == client("bob", "s", "1") {
		t.Error("two users are one client")
	}
	if client("ada", "s", "1") != client("ada", "s", "2") {
		t.Error("one session is two clients")
	}
	if client("ada", "", "1") == client("ada", "", "2") || client("ada", "s", "1") == client("ada", "t", "1") {
		t.Error("two devices are one client")
	}
}

func TestTrust_readsMappedClaims(t *testing.T) {
	l := startLogin(t, "https://login.example")
	full := auth.Claims{User: "https://example.com/user_id", Client: "device.id", Session: "sid", Groups: "realm_access.roles", Grants: "https://example.com/grants"}
	f := trusting(t, l, func(c *auth.Trust) { c.Claims, c.UserPrefix = full, "acme:" })
	good := jwt.MapClaims{
		"https://example.com/user_id": 4217, "device": map[string]any{"id": "phone"}, "sid": "s1", "jti": "j1",
		"realm_access":               map[string]any{"roles": []string{"admin", "editor"}},
		"https://example.com/grants": []any{map[string]any{"a": "channels/x", "can": []string{"publish"}}},
	}
	id := f.identity(t, l.claims(t, f, good))
	got := fmt.Sprint(id.GetUser(), id.GetClient(), id.GetSession(), id.GetGroups(), id.GetTokenId(), id.GetGrants()[0].GetAddress(), id.GetDerivedClient())
	if want := "acme:4217acme:phoneacme:s1[acme:admin acme:editor]acme:j1channels/xfalse"; got != want {
		t.Errorf("it stands for %s, want %s", got, want)
	}
	for name, edit := range map[string]struct {
		claim string
		value any
		want  string
	}{
		"no user":              {"https://example.com/user_id", nil, "missing"},
		"user a list":          {"https://example.com/user_id", []string{"a"}, "[a]"},
		"user a fraction":      {"https://example.com/user_id", 1.5, "1.5"},
		"user empty":           {"https://example.com/user_id", "", `""`},
		"client an object":     {"device", map[string]any{"id": map[string]any{}}, "device.id"},
		"group a number list":  {"realm_access", map[string]any{"roles": []any{true}}, "true"},
		"groups without end":   {"realm_access", map[string]any{"roles": slices.Repeat([]string{"g"}, 257)}, "257"},
		"read in two ways":     {"realm_access.roles", []string{"root"}, "2 ways"},
		"an unknown right":     {"https://example.com/grants", []any{map[string]any{"a": "channels/x", "can": []string{"dance"}}}, "dance"},
		"a member beside":      {"https://example.com/grants", []any{map[string]any{"a": "channels/x", "can": []string{"publish"}, "A": "*"}}, `"A"`},
		"another spelling":     {"Https://example.com/user_id", "root", "spelling"},
		"a long s in sub":      {"\u017fub", "root", "spelling"},
		"the kelvin sign":      {"\u212aey", "root", ""},
		"groups, the singular": {"realm_access", map[string]any{"roles": "one"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			claims := jwt.MapClaims{}
			maps.Copy(claims, good)
			claims[edit.claim] = edit.value
			_, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: l.claims(t, f, claims), Explain: true})
			if edit.want == "" {
				testkit.Check(t, err)
				return
			}
			if !errors.Is(err, bus.ErrTokenInvalid) || !strings.Contains(err.Error(), edit.want) {
				t.Errorf("error is %v, want one with %q", err, edit.want)
			}
		})
	}
}

// Whoever may choose an address that is a user must have shown that it is theirs.
func TestTrust_doesNotTakeAnUnverifiedEmailForAUser(t *testing.T) {
	l := startLogin(t, "https://login.example")
	f := trusting(t, l, func(c *auth.Trust) { c.Claims.User = "email" })
	for verified, ok := range map[any]bool{true: true, "true": true, nil: true, false: false, "false": false, 1: false} {
		err := f.validate(t.Context(), l.claims(t, f, jwt.MapClaims{"email": "ada@example.com", "email_verified": verified}))
		if ok != (err == nil) {
			t.Errorf("email_verified %v: %v", verified, err)
		}
	}
}

// What a prefix makes of a user is what revocations name.
func TestTrust_revocationsRespectThePrefix(t *testing.T) {
	l := startLogin(t, "https://login.example")
	f := trusting(t, l, func(c *auth.Trust) { c.UserPrefix = "acme:" })
	token := l.claims(t, f, jwt.MapClaims{"jti": "j"})
	own := f.issue(t, &authv1.IssueTokenRequest{User: "ada"}).GetToken()
	revoke := func(user string) {
		_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: user}})
		testkit.Check(t, err)
	}
	revoke("ada")
	testkit.Check(t, f.validate(t.Context(), token))
	if err := f.validate(t.Context(), own); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("our own user: %v", err)
	}
	revoke("acme:ada")
	if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("the issuer's user: %v", err)
	}
}

// rsaJWK is an RSA key as it stands in a set, with more members.
func rsaJWK(key *rsa.PrivateKey, more map[string]any) map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	j := map[string]any{"kty": "RSA", "n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}
	maps.Copy(j, more)
	return j
}

// What a key is for is checked whether the token names it or not. A key that is not used spoils nothing else.
func TestTrust_checksEveryKeyWithAndWithoutKid(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		testkit.Check(t, err)
		return k
	}
	good, weak, enc, ops, other, broken, use := key(2048), key(1024), key(2048), key(2048), key(2048), key(2048), key(2048)
	set, err := json.Marshal(map[string]any{"keys": []any{
		"not even an object",
		map[string]any{"kty": "RSA", "kid": "empty"},
		map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "point"},
		rsaJWK(weak, map[string]any{"kid": "weak", "use": "sig"}),
		rsaJWK(enc, map[string]any{"kid": "enc", "use": "enc", "alg": "RSA-OAEP", "x5c": []string{"rubbish"}, "x5t": "abc"}),
		rsaJWK(use, map[string]any{"kid": "use", "use": "enc"}),
		rsaJWK(ops, map[string]any{"kid": "ops", "key_ops": []string{"encrypt", "wrapKey"}}),
		rsaJWK(other, map[string]any{"kid": "other", "alg": "PS256"}),
		rsaJWK(broken, map[string]any{"kid": 7}),
		rsaJWK(good, map[string]any{"kid": "good", "use": "sig", "key_ops": []string{"verify"}, "x5t": "abc", "x5c": []string{"rubbish"}}),
	}})
	testkit.Check(t, err)
	f := start(t, func(c *auth.Config) {
		c.Trust = []auth.Trust{{Issuer: "https://login.example", Audience: "us", JWKS: set, Algorithms: []string{"RS256", "ES256"}}}
	})
	for name, tc := range map[string]struct {
		key *rsa.PrivateKey
		ok  bool
	}{
		"good": {good, true}, "weak": {weak, false}, "enc": {enc, false}, "use": {use, false}, "ops": {ops, false}, "other": {other, false},
		"broken": {broken, false},
	} {
		for _, header := range []map[string]any{{"kid": name}, {}, {"kid": ""}} {
			err := f.validate(t.Context(), theirs(t, f, tc.key, header, nil))
			if tc.ok && err != nil || !tc.ok && !errors.Is(err, bus.ErrTokenInvalid) {
				t.Errorf("%s with header %v: %v", name, header, err)
			}
		}
	}
	if err := f.validate(t.Context(), theirs(t, f, good, map[string]any{"kid": "weak"}, nil)); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("a token that names another key than its own: %v", err)
	}
}

// That an issuer is away says nothing about its tokens: they are to be tried again, and readiness names it.
func TestTrust_keysThatCannotBeReadMakeTokensWait(t *testing.T) {
	l := startLogin(t, "https://login.example")
	l.away.Store(true)
	f := trusts(t, time.Minute, l)
	retry := func(name, token string) {
		t.Helper()
		var e *bus.Error
		if err := f.validate(t.Context(), token); !errors.As(err, &e) || e.Reason != "AUTH_UNAVAILABLE" || e.RetryAfter <= 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	retry("never read", l.sign(t, "ada", f.clock.Now()))
	retry("never read, no kid", forge(t, jwt.SigningMethodEdDSA, l.private, nil, l.of(f, nil)))
	if err := f.Issuers()[l.name](); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("it is ready: %v", err)
	}
	if err := f.Ready(); err != nil {
		t.Errorf("our own tokens: %v", err)
	}
	l.away.Store(false)
	f.clock.advance(11 * time.Second)
	testkit.Check(t, f.validate(t.Context(), l.sign(t, "ada", f.clock.Now())))
	testkit.Check(t, f.Issuers()[l.name]())
	// A key that is new: the set is read for it once, and within the limit it may be there later.
	testkit.Check(t, f.validate(t.Context(), l.sign(t, "bob", f.clock.Now())))
	retry("unknown within the limit", l.signWith(t, "next", "ada", f.clock.Now()))
	f.clock.advance(11 * time.Second)
	if err := f.validate(t.Context(), l.signWith(t, "next", "ada", f.clock.Now())); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("a key that the set does not have: %v", err)
	}
	l.away.Store(true)
	f.clock.advance(11 * time.Second)
	retry("unknown, and away again", l.signWith(t, "next", "ada", f.clock.Now()))
	testkit.Check(t, f.validate(t.Context(), l.sign(t, "eve", f.clock.Now()))) // of a key that is known
}

// A time of issue that is ahead must not carry a token past a revocation.
func TestTrust_revokesWhatWasIssuedAhead(t *testing.T) {
	l := startLogin(t, "https://login.example")
	for _, first := range []bool{true, false} {
		f := trusting(t, l, nil)
		token := l.sign(t, "ada", f.clock.Now().Add(50*time.Second))
		if first {
			testkit.Check(t, f.validate(t.Context(), token))
		}
		_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
		testkit.Check(t, err)
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenRevoked) {
			t.Errorf("seen before %v: %v", first, err)
		}
	}
	f := trusting(t, l, nil) // whose clock was not seen to be ahead
	_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
	testkit.Check(t, err)
	f.clock.advance(8 * time.Second)
	testkit.Check(t, f.validate(t.Context(), l.sign(t, "ada", f.clock.Now()))) // signed in again
}

// Names that other systems chose are admitted as they are, and written in their canonical form.
func TestTrust_namesMayHaveAnyCharacter(t *testing.T) {
	l := startLogin(t, "https://login.example")
	f := trusting(t, l, func(c *auth.Trust) {
		c.UserPrefix, c.Claims = "acme|", auth.Claims{Client: "device", Session: "sid", Groups: "groups"}
	})
	id := f.identity(t, l.claims(t, f, jwt.MapClaims{"sub": "auth0|5f7c8e", "device": "my phone", "sid": "ä/b", "groups": []string{"/team/a", "100%"}, "jti": "x|1"}))
	if got := fmt.Sprint(id.GetUser(), " ", id.GetClient(), " ", id.GetSession(), " ", id.GetGroups()); got !=
		"acme%7Cauth0%7C5f7c8e acme%7Cmy%20phone acme%7C%C3%A4%2Fb [acme%7C%2Fteam%2Fa acme%7C100%25]" {
		t.Errorf("it stands for %s", got)
	}
	for _, bad := range []string{"", "a\u0000b", strings.Repeat("x", 251)} {
		if err := f.validate(t.Context(), l.claims(t, f, jwt.MapClaims{"sub": bad})); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}
