package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
)

// KeyConfig is one key of ours. The first that is private and has not ended signs.
type KeyConfig = jose.KeyConfig

// NewKey makes a signing key that is kept nowhere, for development and tests.
func NewKey(id string) (KeyConfig, error) { return jose.NewKey(id) }

// endWarning is how long before its end readiness speaks of the last key that signs.
const endWarning = 7 * 24 * time.Hour

// Ready returns an error when no key can sign any more.
func (s *Server) Ready() error {
	return s.ring.Check(s.cfg.Now()) //nolint:wrapcheck // it is shown as it is
}

// KeysEnding returns an error when the last key that signs ends within a week.
func (s *Server) KeysEnding() error {
	end := s.ring.LastEnd()
	if end.IsZero() || end.Sub(s.cfg.Now()) > endWarning {
		return nil
	}
	return fmt.Errorf("the last key of auth.keys that signs ends at %s; put a new one in front of it", end.UTC().Format(time.RFC3339))
}

// verifyOwn returns the key of ours that signed a token.
func (s *Server) verifyOwn(t *jose.Token) (*jose.Key, error) {
	k, err := s.ring.Find(t, s.cfg.Now())
	if err != nil {
		return nil, invalid("kid", t.KeyID, fmt.Sprintf("a key of auth.keys for %.32q (%s)", t.Algorithm, err))
	}
	if t.Verify(k) != nil {
		return nil, invalid("signature", "kid "+k.ID, "one that this key made")
	}
	return k, nil
}

// GetKeySet returns the public keys.
func (s *Server) GetKeySet(context.Context, *authv1.GetKeySetRequest) (*authv1.GetKeySetResponse, error) {
	resp := &authv1.GetKeySetResponse{}
	for _, k := range s.ring.Keys {
		if k.Ended(s.cfg.Now()) {
			continue
		}
		if j := jwk(k); j != nil {
			resp.Keys = append(resp.Keys, j)
		}
	}
	return resp, nil
}

// jwk returns the public key (RFC 7518, section 6; RFC 8037, section 2); nil for a secret one.
func jwk(k *jose.Key) *authv1.JsonWebKey {
	text := base64.RawURLEncoding.EncodeToString
	j := &authv1.JsonWebKey{Kid: k.ID, KeyUse: "sig", Alg: k.Algorithm}
	switch public := k.Public().(type) {
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

// errNoSigner refuses what needs a signature when no key can make one.
func errNoSigner() error {
	return bus.ErrAuthUnavailable.With("no key can sign: all of auth.keys have ended", nil)
}
