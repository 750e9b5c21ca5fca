package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

func encode(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	testkit.Check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

const hmacSecret = "qL2v9sX0mT7rB4eZ8cN1yK6uJ3wP5hDa"

func TestKeys_ofEveryAlgorithm(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Check(t, err)
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	testkit.Check(t, err)
	for _, tc := range []struct {
		key   auth.KeyConfig
		kty   string
		other func(t *testing.T, claims jwt.MapClaims) string
	}{
		{auth.KeyConfig{ID: "k", Algorithm: "ES256", PEM: encode(t, ec)}, "EC", func(t *testing.T, claims jwt.MapClaims) string {
			text := forge(t, jwt.SigningMethodES256, ec, map[string]any{"kid": "k", "typ": "at+jwt"}, claims)
			return text[:strings.LastIndex(text, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 64)) // all zero
		}},
		{auth.KeyConfig{ID: "k", Algorithm: "RS256", PEM: encode(t, large)}, "RSA", func(t *testing.T, claims jwt.MapClaims) string {
			return forge(t, jwt.SigningMethodRS512, large, map[string]any{"kid": "k", "typ": "at+jwt"}, claims)
		}},
		{auth.KeyConfig{ID: "k", Algorithm: "HS256", Secret: []byte(hmacSecret)}, "", func(t *testing.T, claims jwt.MapClaims) string {
			return forge(t, jwt.SigningMethodHS512, []byte(hmacSecret), map[string]any{"kid": "k", "typ": "at+jwt"}, claims)
		}},
	} {
		t.Run(tc.key.Algorithm, func(t *testing.T) {
			f := start(t, func(c *auth.Config) { c.Keys = []auth.KeyConfig{tc.key} })
			token := f.issue(t, &authv1.IssueTokenRequest{User: "ada"}).GetToken()
			testkit.Check(t, f.validate(t.Context(), token))
			now := f.clock.Now()
			bad := tc.other(t, jwt.MapClaims{"iss": "trunkline", "aud": "trunkline", "cid": "c", "jti": "j", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
			if err := f.validate(t.Context(), bad); !errors.Is(err, bus.ErrTokenInvalid) {
				t.Errorf("a forged one: %v", err)
			}
			set, err := f.GetKeySet(t.Context(), &authv1.GetKeySetRequest{})
			testkit.Check(t, err)
			if tc.kty == "" {
				if len(set.GetKeys()) > 0 {
					t.Error("a secret is public")
				}
				return
			}
			if set.GetKeys()[0].GetKty() != tc.kty || strings.Contains(fmt.Sprint(set), hmacSecret) {
				t.Errorf("key set is %v", set)
			}
			jwks, err := json.Marshal(map[string]any{"keys": set.GetKeys()})
			testkit.Check(t, err)
			peer := start(t, func(c *auth.Config) { // another installation that trusts this one
				c.Issuer, c.Audience = "peer", "peer"
				c.Trust = []auth.Trust{{Issuer: "trunkline", Audience: "trunkline", JWKS: jwks}}
			})
			testkit.Check(t, peer.validate(t.Context(), token))
		})
	}
}

func TestNew_refusesKeysThatAreNotFit(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	testkit.Check(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	testkit.Check(t, err)
	good, err := auth.NewKey("good")
	testkit.Check(t, err)
	for name, cfg := range map[string]auth.Config{
		"RSA of 1024 bits":     {Keys: []auth.KeyConfig{{ID: "k", Algorithm: "RS256", PEM: encode(t, small)}}},
		"P-384":                {Keys: []auth.KeyConfig{{ID: "k", Algorithm: "ES256", PEM: encode(t, p384)}}},
		"a key of another alg": {Keys: []auth.KeyConfig{{ID: "k", Algorithm: "RS256", PEM: good.PEM}}},
		"one letter 40 times":  {Keys: []auth.KeyConfig{{ID: "k", Algorithm: "HS256", Secret: []byte(strings.Repeat("x", 40))}}},
		"an id twice":          {Keys: []auth.KeyConfig{good, good}},
		"alg not listed":       {Keys: []auth.KeyConfig{good}, Algorithms: []string{"RS256"}},
		"alg none listed":      {Keys: []auth.KeyConfig{good}, Algorithms: []string{"EdDSA", "none"}},
		"our own as issuer":    {Keys: []auth.KeyConfig{good}, Trust: []auth.Trust{{Issuer: "trunkline", Audience: "us", JWKS: []byte(`{"keys":[]}`)}}},
		"an issuer twice": {Keys: []auth.KeyConfig{good}, Trust: []auth.Trust{
			{Issuer: "i", Audience: "us", JWKS: []byte(`{"keys":[]}`)}, {Issuer: "i", Audience: "us", JWKS: []byte(`{"keys":[]}`)},
		}},
	} {
		if _, err := auth.New(memory.New(memory.Config{}), cfg); err == nil || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rsaSet is a JWK Set of one RSA key.
func rsaSet(t *testing.T, kid string, key *rsa.PrivateKey) []byte {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes()),
	}}})
	testkit.Check(t, err)
	return set
}

func theirs(t *testing.T, f fixture, key *rsa.PrivateKey, header map[string]any, edit func(jwt.MapClaims)) string {
	t.Helper()
	now := f.clock.Now()
	c := jwt.MapClaims{"iss": "https://login.example", "aud": "us", "sub": "ada", "jti": "x|1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if edit != nil {
		edit(c)
	}
	return forge(t, jwt.SigningMethodRS256, key, header, c)
}

func TestTrust_boundsWhatItAdopts(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	testkit.Check(t, err)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	testkit.Check(t, err)
	trusting := func(key *rsa.PrivateKey, grants bool) fixture {
		return start(t, func(c *auth.Config) {
			c.Trust = []auth.Trust{{Issuer: "https://login.example", Audience: "us", JWKS: rsaSet(t, "a", key), TrustGrants: grants}}
		})
	}
	kid := map[string]any{"kid": "a"}
	t.Run("weak key", func(t *testing.T) {
		f := trusting(weak, false)
		if err := f.validate(t.Context(), theirs(t, f, weak, kid, nil)); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("no iat", func(t *testing.T) {
		f := trusting(strong, false)
		if err := f.validate(t.Context(), theirs(t, f, strong, kid, func(c jwt.MapClaims) { delete(c, "iat") })); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("a life longer than revocations are remembered", func(t *testing.T) {
		f := trusting(strong, false)
		token := theirs(t, f, strong, kid, func(c jwt.MapClaims) { c["exp"] = f.clock.Now().Add(365 * 24 * time.Hour).Unix() })
		testkit.Check(t, f.validate(t.Context(), token))
		f.clock.advance(31 * 24 * time.Hour)
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenExpired) {
			t.Errorf("after a month: %v", err)
		}
	})
	t.Run("revoked by itself, its id being no name", func(t *testing.T) {
		f := trusting(strong, false)
		token := theirs(t, f, strong, kid, nil)
		testkit.Check(t, f.validate(t.Context(), token))
		_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: token}})
		testkit.Check(t, err)
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenRevoked) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("grants where they are trusted, a family never", func(t *testing.T) {
		f := trusting(strong, true)
		token := theirs(t, f, strong, kid, func(c jwt.MapClaims) {
			c["grants"] = []any{map[string]any{"a": "channels/x", "can": []string{"publish"}}}
			c["fam"], c["ims"] = "f", f.clock.Now().Add(time.Hour).UnixMilli()
		})
		resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		testkit.Check(t, err)
		if id := resp.GetIdentity(); len(id.GetGrants()) != 1 || id.GetFamily() != "" || id.GetIssueTime().AsTime().After(f.clock.Now()) {
			t.Errorf("identity is %v", id)
		}
	})
	t.Run("addresses in the header are never called", func(t *testing.T) {
		var calls atomic.Int32
		trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
		defer trap.Close()
		f := trusting(strong, false)
		for _, name := range []string{"jku", "x5u"} {
			for _, key := range []string{"a", "b", ""} {
				_ = f.validate(t.Context(), theirs(t, f, strong, map[string]any{"kid": key, name: trap.URL}, nil)) // right or not
			}
			_ = f.validate(t.Context(), theirs(t, f, strong, map[string]any{"kid": trap.URL}, func(c jwt.MapClaims) { c["iss"] = trap.URL }))
		}
		if calls.Load() > 0 {
			t.Errorf("%d calls", calls.Load())
		}
	})
}

func TestTrust_readsKeysOverHTTP(t *testing.T) {
	first, err := rsa.GenerateKey(rand.Reader, 2048)
	testkit.Check(t, err)
	second, err := rsa.GenerateKey(rand.Reader, 2048)
	testkit.Check(t, err)
	var set atomic.Value
	set.Store(rsaSet(t, "a", first))
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = w.Write(set.Load().([]byte))
	}))
	defer issuer.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	trusting := func(url string) fixture {
		return start(t, func(c *auth.Config) {
			c.Trust = []auth.Trust{{Issuer: "https://login.example", Audience: "us", JWKSURL: url}}
		})
	}
	f := trusting(issuer.URL)
	testkit.Check(t, f.validate(t.Context(), theirs(t, f, first, map[string]any{"kid": "a"}, nil)))
	set.Store(rsaSet(t, "b", second))
	testkit.Check(t, f.validate(t.Context(), theirs(t, f, second, map[string]any{"kid": "b"}, nil))) // asked again for a key it does not know
	moved := trusting(issuer.URL + "/moved")
	if err := moved.validate(t.Context(), theirs(t, moved, second, map[string]any{"kid": "b"}, nil)); !errors.Is(err, bus.ErrAuthUnavailable) {
		t.Errorf("a redirect was followed: %v", err)
	}
	issuer.Close()
	away := trusting(issuer.URL)
	if err := away.validate(t.Context(), theirs(t, away, second, map[string]any{"kid": "b"}, nil)); !errors.Is(err, bus.ErrAuthUnavailable) {
		t.Errorf("an issuer that is away: %v", err)
	}
	testkit.Check(t, away.validate(t.Context(), away.issue(t, &authv1.IssueTokenRequest{}).GetToken())) // ours are as good as before
}
