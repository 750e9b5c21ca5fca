package auth_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// In a token a name is as its issuer wrote it: nothing in it is an escape.
func TestTrust_namesAreRaw(t *testing.T) {
	idp := startLogin(t, "https://idp.example")
	f := trusting(t, idp, nil)
	tokens := map[string]string{}
	for sub, want := range map[string]string{
		"auth0|5f7c8ec7c33c6c004bbafe82": "auth0%7C5f7c8ec7c33c6c004bbafe82", "google-oauth2|1035": "google-oauth2%7C1035",
		"a%7Cb": "a%257Cb", "a|b": "a%7Cb", "50%": "50%25", "%41": "%2541", "A": "A", "a/b": "a%2Fb", "*": "%2A", "..": "..", `CORP\ada`: "CORP%5Cada",
		"é": "%C3%A9", "e\u0301": "e%CC%81", "\u202eada": "%E2%80%AEada", strings.Repeat("|", 255): strings.Repeat("%7C", 255), "-": "-",
	} {
		tokens[want] = idp.claims(t, f, jwt.MapClaims{"sub": sub})
		if got := f.identity(t, tokens[want]).GetUser(); got != want {
			t.Errorf("%q is the user %q, want %q", sub, got, want)
		}
	}
	for _, sub := range []string{strings.Repeat("|", 256), "a\nb", "a\x00", "a\u0080", "a\x7f"} {
		if err := f.validate(t.Context(), idp.claims(t, f, jwt.MapClaims{"sub": sub})); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("%.20q: %v", sub, err)
		}
	}
	// A revocation of one is of no other, however it is spelled.
	_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "a%7cb"}})
	testkit.Check(t, err)
	for name, token := range tokens {
		if err := f.validate(t.Context(), token); (err != nil) != (name == "a%7Cb") {
			t.Errorf("after the revocation, %s: %v", name, err)
		}
	}
}

// Names of mapped claims are raw too, and stand behind the prefix of their issuer.
func TestTrust_namesBehindAPrefix(t *testing.T) {
	idp := startLogin(t, "https://idp.example")
	f := trusting(t, idp, func(tr *auth.Trust) { tr.UserPrefix = "acme|" })
	id := f.identity(t, idp.claims(t, f, jwt.MapClaims{"sub": "auth0|5f"}))
	if id.GetUser() != "acme%7Cauth0%7C5f" {
		t.Errorf("it stands for %v", id)
	}
}

// Tokens of ours say the names raw as well, so that they mean the same in both.
func TestIssue_writesNamesRaw(t *testing.T) {
	f := start(t)
	for _, user := range []string{"auth0|5f", "auth0%7c5f", "%61uth0%7C5f"} {
		resp, err := f.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: user, Session: user, Groups: []string{user}, Client: user, Refreshable: true})
		testkit.Check(t, err)
		var c jwt.MapClaims
		_, _, err = jwt.NewParser().ParseUnverified(resp.GetToken(), &c)
		testkit.Check(t, err)
		if c["sub"] != "auth0|5f" || c["sid"] != "auth0|5f" || c["cid"] != "auth0|5f" || resp.GetClient() != "auth0%7C5f" {
			t.Errorf("%q: claims are %v, the client is %s", user, c, resp.GetClient())
		}
		again, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: resp.GetRefreshToken()})
		testkit.Check(t, err)
		if got := f.identity(t, again.GetToken()); got.GetUser() != "auth0%7C5f" || got.GetGroups()[0] != "auth0%7C5f" || again.GetClient() != "auth0%7C5f" {
			t.Errorf("%q: after a refresh it stands for %v", user, got)
		}
	}
	_, err := f.IssueToken(t.Context(), &authv1.IssueTokenRequest{Grants: []*authv1.Grant{
		{Address: "users/auth0|*", Actions: []authv1.Action{authv1.Action_ACTION_PUBLISH}},
		{Address: "users/auth0*", Actions: []authv1.Action{authv1.Action_ACTION_PUBLISH}},
	}})
	var e *bus.Error
	if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Field != "grants[1].address" {
		t.Errorf("grants: %v", err)
	}
}
