package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Skipped is a key of a set that is not used.
type Skipped struct {
	KeyID string
	Cause string
}

// maxKeys is how many keys of a set are read.
const maxKeys = 100

// ParseSet reads a JWK Set (RFC 7517, section 5) for the algorithms that are accepted. A key that cannot be used, or must not be,
// is skipped with its cause, and spoils nothing else. It returns an error for what is no key set.
func ParseSet(text []byte, algorithms []string) (keys []*Key, skipped []Skipped, err error) {
	var set map[string]json.RawMessage // and no struct, which would take Keys for keys
	var list []json.RawMessage
	if json.Unmarshal(text, &set) != nil || json.Unmarshal(set["keys"], &list) != nil || list == nil {
		return nil, nil, errors.New("not a JWK Set: it has no list keys")
	}
	for i, raw := range list {
		if i == maxKeys {
			skipped = append(skipped, Skipped{Cause: fmt.Sprintf("the set has %d keys, %d are read", len(list), maxKeys)})
			break
		}
		o, err := DecodeObject(raw)
		if err != nil {
			skipped = append(skipped, Skipped{Cause: fmt.Sprintf("keys[%d]: %s", i, err)})
			continue
		}
		k, err := parseJWK(o, algorithms)
		if err != nil {
			kid, _ := o.Text("kid")
			skipped = append(skipped, Skipped{KeyID: fmt.Sprintf("%.100s", kid), Cause: fmt.Sprintf("keys[%d]: %s", i, err)})
			continue
		}
		keys = append(keys, k)
	}
	return keys, skipped, nil
}

// parseJWK reads one key that verifies signatures with one of the algorithms. Its certificates are not looked at: what is trusted
// is the place that the set comes from.
func parseJWK(o Object, algorithms []string) (*Key, error) {
	if name, ok := o.Folded("kty", "use", "key_ops", "alg", "kid"); ok {
		return nil, fmt.Errorf("the member %.40q is another spelling of a known one", name)
	}
	if err := verifies(o); err != nil {
		return nil, err
	}
	k := &Key{}
	var err error
	if k.public, k.Algorithm, err = publicKey(o); err != nil {
		return nil, err
	}
	if alg, there := o["alg"]; there && alg != k.Algorithm && (alg != "Ed25519" || k.Algorithm != "EdDSA") {
		return nil, fmt.Errorf("alg is %.40v, such a key is accepted for %s alone", fmt.Sprint(alg), k.Algorithm)
	}
	if !slices.Contains(algorithms, k.Algorithm) {
		return nil, fmt.Errorf("%s is not one of the accepted algorithms, %s", k.Algorithm, strings.Join(algorithms, ", "))
	}
	if kid, there := o["kid"]; there {
		var ok bool
		if k.ID, ok = kid.(string); !ok {
			return nil, errors.New("kid is no text")
		}
	}
	return k, fit(k.Algorithm, k.public)
}

// verifies says whether a key is meant for verifying signatures (RFC 7517, sections 4.2 and 4.3).
func verifies(o Object) error {
	if use, there := o["use"]; there && use != "sig" {
		return fmt.Errorf("use is %.40v, not sig", fmt.Sprint(use))
	}
	ops, there := o["key_ops"]
	if !there {
		return nil
	}
	list, ok := ops.([]any)
	if !ok || !slices.Contains(list, any("verify")) {
		return fmt.Errorf("key_ops is %.100v, without verify", fmt.Sprint(ops))
	}
	return nil
}

// publicKey returns the key of a JWK and the one algorithm that such a key is used with.
func publicKey(o Object) (public any, algorithm string, err error) {
	kty, _ := o.Text("kty")
	crv, _ := o.Text("crv")
	switch {
	case kty == "RSA":
		public, err = rsaKey(o)
		return public, "RS256", err
	case kty == "EC" && crv == "P-256":
		public, err = ecKey(o)
		return public, "ES256", err
	case kty == "OKP" && crv == "Ed25519":
		x, err := octets(o, "x")
		if err == nil && len(x) != ed25519.PublicKeySize {
			err = fmt.Errorf("x has %d bytes, an Ed25519 key has %d", len(x), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(x), "EdDSA", err
	}
	return nil, "", fmt.Errorf("a key of kty %.20q and crv %.20q is of no accepted algorithm", kty, crv)
}

func rsaKey(o Object) (*rsa.PublicKey, error) {
	n, err := octets(o, "n")
	if err != nil {
		return nil, err
	}
	e, err := octets(o, "e")
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, errors.New("the exponent of the RSA key is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func ecKey(o Object) (*ecdsa.PublicKey, error) {
	x, err := octets(o, "x")
	if err != nil {
		return nil, err
	}
	y, err := octets(o, "y")
	if err != nil {
		return nil, err
	}
	if len(x) > 32 || len(y) > 32 {
		return nil, errors.New("x or y is longer than the curve's 32 bytes")
	}
	point := make([]byte, 65) // 4, x, y (SEC 1, section 2.3.3)
	point[0] = 4
	copy(point[33-len(x):33], x)
	copy(point[65-len(y):], y)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errors.New("x and y are no point of the curve")
	}
	return public, nil
}

// octets returns a member in base64, with padding or without.
func octets(o Object, name string) ([]byte, error) {
	text, _ := o.Text(name)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("%s is missing or not base64", name)
	}
	return raw, nil
}
