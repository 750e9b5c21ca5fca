package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
)

// KeyConfig is one key. The first one signs; the others only verify, until their time is over.
type KeyConfig struct {
	// ID is the key id in the token's header (kid).
	ID string
	// Algorithm is EdDSA, ES256, RS256 or HS256. A key is only ever used with its own algorithm.
	Algorithm string
	// PEM is the private key (PKCS #8), or the public one of a key that only verifies.
	PEM []byte
	// Secret is the key of HS256: at least 32 bytes.
	Secret []byte
	// Until ends the overlap of a key that was rotated out; zero for never.
	Until time.Time
}

// minRSABits is the shortest RSA key that is trusted, ours or another issuer's.
const minRSABits = 2048

// key is a parsed KeyConfig.
type key struct {
	id      string
	method  jwt.SigningMethod
	private any
	public  any
	until   time.Time
}

// Algorithms lists what may be configured.
func Algorithms() []string { return []string{"EdDSA", "ES256", "RS256", "HS256"} }

// NewKey makes a signing key that is kept nowhere, for development and tests.
func NewKey(id string) (KeyConfig, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return KeyConfig{}, fmt.Errorf("make a key: %w", err)
	}
	return encodeKey(id, private)
}

// knownSecrets are examples that people copy.
var knownSecrets = []string{"secret", "changeme", "change-me", "password", "super.secret", "your-256-bit-secret", "trunkline"}

func parseKey(c KeyConfig) (*key, error) {
	k := &key{id: c.ID, until: c.Until}
	fail := func(format string, args ...any) (*key, error) {
		return nil, fmt.Errorf("auth key %q: %s", c.ID, fmt.Sprintf(format, args...))
	}
	if c.ID == "" || len(c.ID) > 64 {
		return fail("the id has %d characters, allowed are 1 to 64", len(c.ID))
	}
	if c.Algorithm == "HS256" {
		text := strings.ToLower(string(c.Secret))
		if len(c.Secret) < 32 || distinct(c.Secret) < 8 || slices.ContainsFunc(knownSecrets, func(s string) bool { return strings.Trim(text, s) == "" }) {
			return fail("the secret of HS256 must be at least 32 random bytes")
		}
		k.method, k.private, k.public = jwt.SigningMethodHS256, c.Secret, c.Secret
		return k, nil
	}
	var err error
	switch c.Algorithm {
	case "EdDSA":
		k.method = jwt.SigningMethodEdDSA
		if k.private, err = jwt.ParseEdPrivateKeyFromPEM(c.PEM); err != nil {
			k.private = nil
			k.public, err = jwt.ParseEdPublicKeyFromPEM(c.PEM)
		}
	case "ES256":
		k.method = jwt.SigningMethodES256
		if k.private, err = jwt.ParseECPrivateKeyFromPEM(c.PEM); err != nil {
			k.private = nil
			k.public, err = jwt.ParseECPublicKeyFromPEM(c.PEM)
		}
	case "RS256":
		k.method = jwt.SigningMethodRS256
		if k.private, err = jwt.ParseRSAPrivateKeyFromPEM(c.PEM); err != nil {
			k.private = nil
			k.public, err = jwt.ParseRSAPublicKeyFromPEM(c.PEM)
		}
	default:
		return fail("algorithm %q is not one of %s", c.Algorithm, strings.Join(Algorithms(), ", "))
	}
	if err != nil {
		return fail("not a PEM key of %s", c.Algorithm)
	}
	if signer, ok := k.private.(crypto.Signer); ok {
		k.public = signer.Public()
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSABits {
			return fail("the RSA key has %d bits, at least %d are needed", public.N.BitLen(), minRSABits)
		}
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return fail("ES256 needs a key on the curve P-256")
		}
	}
	return k, nil
}

func distinct(secret []byte) int {
	seen := make(map[byte]bool)
	for _, b := range secret {
		seen[b] = true
	}
	return len(seen)
}

// jwk returns the public key (RFC 7518, section 6; RFC 8037, section 2); nil for a secret one.
func (k *key) jwk() *authv1.JsonWebKey {
	text := base64.RawURLEncoding.EncodeToString
	j := &authv1.JsonWebKey{Kid: k.id, KeyUse: "sig", Alg: k.method.Alg()}
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		j.Kty, j.Crv, j.X = "OKP", "Ed25519", text(public)
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y (SEC 1, section 2.3.3)
		if err != nil || len(point) != 65 {
			return nil
		}
		j.Kty, j.Crv, j.X, j.Y = "EC", "P-256", text(point[1:33]), text(point[33:])
	case *rsa.PublicKey:
		j.Kty, j.N, j.E = "RSA", text(public.N.Bytes()), text(big.NewInt(int64(public.E)).Bytes())
	default:
		return nil
	}
	return j
}
