package apptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/testkit"
)

// Issuer is an identity provider with a key of its own, and a server that shows its key set.
type Issuer struct {
	// URL is where the server is; the keys are at JWKS.
	URL, JWKS string
	// Away makes the server answer with an error.
	Away atomic.Bool

	method jwt.SigningMethod
	key    crypto.Signer
	set    atomic.Value
}

// NewIssuer starts an issuer that signs by EdDSA, ES256 or RS256, until the test ends. Its key has the id.
func NewIssuer(tb testing.TB, algorithm, kid string) *Issuer {
	tb.Helper()
	i := &Issuer{method: jwt.GetSigningMethod(algorithm)}
	var err error
	switch algorithm {
	case "RS256":
		i.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		i.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, i.key, err = ed25519.GenerateKey(rand.Reader)
	}
	testkit.Check(tb, err)
	i.Rename(kid)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.Away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(i.set.Load().([]byte))
	}))
	tb.Cleanup(server.Close)
	i.URL, i.JWKS = server.URL, server.URL+"/jwks.json"
	return i
}

// Rename shows the key under another id from now on.
func (i *Issuer) Rename(kid string) {
	text := base64.RawURLEncoding.EncodeToString
	key := map[string]string{"kid": kid, "alg": i.method.Alg(), "use": "sig"}
	switch public := i.key.Public().(type) {
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", text(public.N.Bytes()), text(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x and y
		if err != nil {
			panic(fmt.Sprintf("a key that was made here: %v", err))
		}
		key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", text(point[1:33]), text(point[33:])
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", text(public)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{key}})
	if err != nil {
		panic(fmt.Sprintf("a key of texts: %v", err))
	}
	i.set.Store(set)
}

// Sign returns a token with a header besides its algorithm, and claims.
func (i *Issuer) Sign(tb testing.TB, header, claims map[string]any) string {
	tb.Helper()
	token := jwt.NewWithClaims(i.method, jwt.MapClaims(claims))
	delete(token.Header, "typ") // not every issuer has one
	maps.Copy(token.Header, header)
	text, err := token.SignedString(i.key)
	testkit.Check(tb, err)
	return text
}
