package jose_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/testkit"
)

// fixed is a key whose tokens stand in the corpus.
func fixed(tb testing.TB) *jose.Key {
	tb.Helper()
	keys, _, err := jose.ParseSet([]byte(`{"keys":[`+goodJWK+`]}`), jose.PublicAlgorithms())
	testkit.Check(tb, err)
	return keys[0]
}

// goodJWK is the public half of the Ed25519 key whose seed is 32 times the letter k.
var goodJWK = func() string {
	public, _ := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("k"), ed25519.SeedSize)).Public().(ed25519.PublicKey)
	text, _ := json.Marshal(map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "good", "x": []byte(public)})
	return strings.NewReplacer("+", "-", "/", "_").Replace(string(text))
}()

// FuzzParseToken holds the reader of tokens to golang-jwt: what is taken, the other takes with the same header and claims. What the key
// verifies, the other verifies too. And what a token costs is bounded by its length.
func FuzzParseToken(f *testing.F) {
	key := fixed(f)
	other := jwt.NewParser(jwt.WithJSONNumber(), jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"EdDSA"}))
	f.Fuzz(func(t *testing.T, text string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		token, err := jose.Parse(text)
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 1<<20+256*uint64(len(text)) {
			t.Errorf("%d bytes cost %d", len(text), cost)
		}
		if err != nil {
			return
		}
		claims := jwt.MapClaims{}
		same, _, err := other.ParseUnverified(text, claims)
		if err != nil {
			if strings.Contains(err.Error(), "signing method") || strings.Contains(err.Error(), "cannot unmarshal number") {
				return // an algorithm that it does not have, or a number in the header that no float is
			}
			t.Fatalf("%q is taken, and golang-jwt says %v", text, err)
		}
		if kid, _ := same.Header["kid"].(string); same.Header["alg"] != token.Algorithm || kid != token.KeyID {
			t.Fatalf("%q is of %s and %q, by golang-jwt %v", text, token.Algorithm, token.KeyID, same.Header)
		}
		equal(t, token.Claims, claims)
		if token.Verify(key) != nil {
			return
		}
		if _, err := other.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key.Public(), nil }); err != nil {
			t.Fatalf("%q is verified, and golang-jwt says %v", text, err)
		}
	})
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	a, err := json.Marshal(got)
	testkit.Check(t, err)
	b, err := json.Marshal(want)
	testkit.Check(t, err)
	if string(a) != string(b) {
		t.Fatalf("read as %s, by golang-jwt as %s", a, b)
	}
}

// FuzzParseSet says that every key of a set is read or skipped with a short cause, and that a bad one spoils no good one.
func FuzzParseSet(f *testing.F) {
	f.Fuzz(func(t *testing.T, jwk []byte) {
		keys, skipped, err := jose.ParseSet(jwk, jose.PublicAlgorithms())
		judge(t, keys, skipped)
		if err != nil && (keys != nil || skipped != nil) {
			t.Fatalf("%q is no set, and has %v, %v", jwk, keys, skipped)
		}
		if !json.Valid(jwk) {
			return
		}
		set := `{"keys":[` + goodJWK + `,` + string(jwk) + `,` + goodJWK + `]}`
		keys, skipped, err = jose.ParseSet([]byte(set), jose.PublicAlgorithms())
		if err != nil || len(keys)+len(skipped) != 3 || keys[0].ID != "good" || keys[len(keys)-1].ID != "good" {
			t.Fatalf("%q spoils the set: %v, %v, %v", jwk, keys, skipped, err)
		}
		judge(t, keys, skipped)
	})
}

func judge(t *testing.T, keys []*jose.Key, skipped []jose.Skipped) {
	t.Helper()
	for _, k := range keys {
		if k.Signs() || k.Algorithm != "EdDSA" && k.Algorithm != "ES256" && k.Algorithm != "RS256" {
			t.Errorf("a key for %s, which signs: %t", k.Algorithm, k.Signs())
		}
	}
	for _, s := range skipped {
		if s.Cause == "" || len(s.Cause) > 512 || len(s.KeyID) > 512 {
			t.Errorf("the cause of %.100q has %d bytes: %.100q", s.KeyID, len(s.Cause), s.Cause)
		}
	}
}

// FuzzParseKey says that a key which is taken signs what it verifies, and that a refusal does not show the key.
func FuzzParseKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, algorithm string, text []byte) {
		k, err := jose.ParseKey(jose.KeyConfig{ID: "k", Algorithm: algorithm, PEM: text, Secret: text})
		if err != nil {
			if line := strings.TrimSpace(string(text)); len(line) > 16 && strings.Contains(err.Error(), line) {
				t.Errorf("the refusal shows it: %v", err)
			}
			return
		}
		if k.Algorithm != algorithm || algorithm == "" {
			t.Errorf("a key for %q is one for %q", algorithm, k.Algorithm)
		}
		if !k.Signs() {
			return
		}
		signed, err := k.Sign("t", jwt.MapClaims{"a": 1})
		testkit.Check(t, err)
		token, err := jose.Parse(signed)
		testkit.Check(t, err)
		if err := token.Verify(k); err != nil || token.KeyID != "k" {
			t.Errorf("it does not verify what it signs: %v", err)
		}
	})
}
