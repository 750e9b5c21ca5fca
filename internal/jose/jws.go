// Package jose reads what others sign: JSON web tokens, their keys and key sets (RFC 7515, 7517, 7518, 7519, 8037). It takes one
// meaning out of a text or none, and a key signs and verifies by its own algorithm alone.
package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Token is a JSON web token that nobody has verified yet.
type Token struct {
	// Header and Claims are what it says.
	Header, Claims Object
	// Algorithm and KeyID are the members alg and kid of the header; the latter is empty where there is none.
	Algorithm, KeyID string

	signed    string
	signature []byte
}

// Parse reads the compact form (RFC 7515, section 3.1).
func Parse(text string) (*Token, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return !compact(r) }); i >= 0 {
		return nil, fmt.Errorf("the byte %q is none of the compact form", text[i])
	}
	if dots := strings.Count(text, "."); dots != 2 {
		return nil, fmt.Errorf("it has %d dots, a signed token has 2", dots)
	}
	head, rest, _ := strings.Cut(text, ".")
	body, tail, _ := strings.Cut(rest, ".")
	t := &Token{signed: text[:len(head)+1+len(body)]}
	var err error
	if t.Header, err = part(head); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if t.Claims, err = part(body); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(tail); err != nil {
		return nil, errors.New("the signature is not base64")
	}
	return t, t.readHeader()
}

// compact says whether a character is one of the compact form. A decoder of base64 would skip line ends, so that one token could
// be written in many ways.
func compact(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

func part(text string) (Object, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64")
	}
	return DecodeObject(raw)
}

// readHeader takes out what every token has, and refuses what changes the meaning of the rest and is not supported.
func (t *Token) readHeader() error {
	for _, name := range []string{"crit", "zip", "cty", "b64"} {
		if _, ok := t.Header[name]; ok {
			return fmt.Errorf("header: %s is not supported", name)
		}
	}
	var ok bool
	if t.Algorithm, ok = t.Header.Text("alg"); !ok {
		return errors.New("header: alg is missing or no text")
	}
	if kid, there := t.Header["kid"]; there {
		if t.KeyID, ok = kid.(string); !ok {
			return errors.New("header: kid is no text")
		}
	}
	return nil
}

// Verify says whether the key signed the token. It returns an error for a key of another algorithm, whatever the signature.
func (t *Token) Verify(k *Key) error {
	if t.Algorithm != k.Algorithm {
		return fmt.Errorf("the key is for %s, the token is signed with %s", k.Algorithm, t.Algorithm)
	}
	if err := methods[k.Algorithm].Verify(t.signed, t.signature, k.public); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// Sign returns a token with the claims. It returns an error for a key that only verifies.
func (k *Key) Sign(typ string, claims jwt.Claims) (string, error) {
	if !k.Signs() {
		return "", fmt.Errorf("the key %q only verifies", k.ID)
	}
	t := jwt.NewWithClaims(methods[k.Algorithm], claims)
	t.Header["kid"], t.Header["typ"] = k.ID, typ
	text, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}
