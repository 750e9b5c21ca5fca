package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// KeyConfig is one key as it is configured.
type KeyConfig struct {
	// ID is the key id in the token's header (kid).
	ID string
	// Algorithm is EdDSA, ES256, RS256 or HS256. A key is only ever used with its own algorithm.
	Algorithm string
	// PEM is the private key (PKCS #8), or the public one of a key that only verifies.
	PEM []byte
	// Secret is the key of HS256: at least 32 bytes.
	Secret []byte
	// Until is when the key ends: it neither signs nor verifies from then on. Zero for never.
	Until time.Time
}

// Key signs or verifies tokens. It is immutable.
type Key struct {
	// ID is empty for a key of a set that names none.
	ID        string
	Algorithm string
	Until     time.Time

	private any // nil for a key that only verifies
	public  any
}

// minRSABits is the shortest RSA key that is trusted, whoever made it.
const minRSABits = 2048

// methods are the algorithms that there are here.
var methods = map[string]jwt.SigningMethod{
	"EdDSA": jwt.SigningMethodEdDSA, "ES256": jwt.SigningMethodES256, "RS256": jwt.SigningMethodRS256, "HS256": jwt.SigningMethodHS256,
}

// Algorithms lists what may be configured.
func Algorithms() []string { return []string{"EdDSA", "ES256", "RS256", "HS256"} }

// PublicAlgorithms lists those whose keys may be known to everybody: what another issuer may sign with.
func PublicAlgorithms() []string { return []string{"EdDSA", "ES256", "RS256"} }

// NewKey makes a signing key that is kept nowhere, for development and tests.
func NewKey(id string) (KeyConfig, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return KeyConfig{}, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return KeyConfig{}, fmt.Errorf("encode a key: %w", err)
	}
	return KeyConfig{ID: id, Algorithm: "EdDSA", PEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

// Signs says whether the key has its private half.
func (k *Key) Signs() bool { return k.private != nil }

// Public returns the public half; the secret itself of HS256.
func (k *Key) Public() any { return k.public }

// Ended says whether the key's time is over.
func (k *Key) Ended(now time.Time) bool { return !k.Until.IsZero() && !now.Before(k.Until) }

// ParseKey reads a configured key. The error says what is wrong with it, and never shows it.
func ParseKey(c KeyConfig) (*Key, error) {
	if c.ID == "" || len(c.ID) > 64 {
		return nil, fmt.Errorf("the id has %d characters, allowed are 1 to 64", len(c.ID))
	}
	k := &Key{ID: c.ID, Algorithm: c.Algorithm, Until: c.Until}
	if c.Algorithm == "HS256" {
		if !strong(c.Secret) {
			return nil, fmt.Errorf("the secret of HS256 must be at least 32 random bytes")
		}
		k.private, k.public = c.Secret, c.Secret
		return k, nil
	}
	read, ok := readers[c.Algorithm]
	if !ok {
		return nil, fmt.Errorf("algorithm %q is not one of %s", c.Algorithm, strings.Join(Algorithms(), ", "))
	}
	if !read(k, c.PEM) {
		return nil, fmt.Errorf("not a PEM key of %s", c.Algorithm)
	}
	if signer, ok := k.private.(crypto.Signer); ok {
		k.public = signer.Public()
	}
	return k, fit(c.Algorithm, k.public)
}

// readers read PEM into a key of each algorithm; false for anything else.
var readers = map[string]func(k *Key, text []byte) bool{
	"EdDSA": func(k *Key, text []byte) bool {
		return read(k, text, jwt.ParseEdPrivateKeyFromPEM, jwt.ParseEdPublicKeyFromPEM)
	},
	"ES256": func(k *Key, text []byte) bool {
		return read(k, text, jwt.ParseECPrivateKeyFromPEM, jwt.ParseECPublicKeyFromPEM)
	},
	"RS256": func(k *Key, text []byte) bool {
		return read(k, text, jwt.ParseRSAPrivateKeyFromPEM, jwt.ParseRSAPublicKeyFromPEM)
	},
}

// read tries a private key first, and then a public one.
func read[Private, Public any](k *Key, text []byte, private func([]byte) (Private, error), public func([]byte) (Public, error)) bool {
	if key, err := private(text); err == nil {
		k.private = key
		return true
	}
	key, err := public(text)
	k.public = key
	return err == nil
}

// fit says whether a public key may be used with an algorithm at all.
func fit(algorithm string, public any) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		switch {
		case algorithm != "RS256":
			return fmt.Errorf("it is an RSA key, and %s needs another", algorithm)
		case public.N.BitLen() < minRSABits:
			return fmt.Errorf("the RSA key has %d bits, at least %d are needed", public.N.BitLen(), minRSABits)
		case public.E < 3 || public.E%2 == 0 || public.E > 1<<31-1:
			return fmt.Errorf("the exponent of the RSA key is %d", public.E)
		}
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || public.Curve != elliptic.P256() {
			return fmt.Errorf("it is a key on the curve %s; ES256 needs P-256, other algorithms other keys", public.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		if algorithm != "EdDSA" {
			return fmt.Errorf("it is an Ed25519 key, and %s needs another", algorithm)
		}
	default:
		return fmt.Errorf("it is a key of another kind than %s needs", algorithm)
	}
	return nil
}

// knownSecrets are examples that people copy.
var knownSecrets = []string{"secret", "changeme", "change-me", "password", "super.secret", "your-256-bit-secret", "trunkline"}

// strong says whether a secret is long enough and does not look like one that was typed.
func strong(secret []byte) bool {
	text := strings.ToLower(string(secret))
	seen := make(map[byte]bool)
	for _, b := range secret {
		seen[b] = true
	}
	return len(secret) >= 32 && len(seen) >= 8 && !slices.ContainsFunc(knownSecrets, func(s string) bool { return strings.Trim(text, s) == "" })
}
