package config

import (
	"time"

	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/trust"
)

// Auth is about tokens.
type Auth struct {
	Issuer     string        `key:"issuer" kind:"required" doc:"The issuer claim of our tokens."`
	Audience   string        `key:"audience" kind:"required" doc:"The audience claim of our tokens, and the one asked of others."`
	Keys       []SigningKey  `key:"keys" doc:"The keys that sign and verify our tokens, the signing one first. Each has id, algorithm, and one of three: private_key (or private_key_file), public_key to verify alone, or secret (HS256). It is not used after the time until, when that is set; the next private one signs then."`
	Trust      []TrustIssuer `key:"trust" doc:"Other issuers whose tokens are valid here, each with issuer, jwks_url, audience and algorithms. Its claims mean what claims says: {user: sub, client, session, groups, grants}; trust_grants is short for grants: grants. A key that it has withdrawn may be believed for key_age (60s). Its users, clients, sessions and groups begin with user_prefix; with share_users they may be the same as another issuer's. Its revocations are like auth.revocations."`
	AccessTTL  time.Duration `key:"access_ttl" min:"1s" max:"720h" doc:"How long a token lives when its request does not say."`
	MaxTTL     time.Duration `key:"max_ttl" min:"1s" max:"8760h" doc:"The longest a token may live."`
	RefreshTTL time.Duration `key:"refresh_ttl" min:"1m" max:"8760h" doc:"How long a refresh token lives."`
	Algorithms []string      `key:"algorithms" oneof:"EdDSA,ES256,RS256,HS256" doc:"The algorithms of our own tokens; those of auth.keys when empty."`

	Leeway time.Duration `key:"leeway" min:"1s" max:"10m" doc:"How far ahead the clock of whoever made a token may be. A token of a clock that is further ahead is not valid yet."`

	Revocations Revocations `key:"revocations"`
}

// Revocations is about revocations that the store has lost.
type Revocations struct {
	Lost string `key:"lost" oneof:"expire,allow" doc:"What becomes of tokens that were issued before the store lost revocations: expire answers them as expired, allow believes them. An issuer in auth.trust may have its own."`
}

// SigningKey signs or verifies our tokens.
type SigningKey struct {
	ID         string `key:"id"`
	Algorithm  string `key:"algorithm" oneof:"EdDSA,ES256,RS256,HS256"`
	PrivateKey Secret `key:"private_key"`
	PublicKey  string `key:"public_key"`
	Secret     Secret `key:"secret" kind:"strong"`
	Until      string `key:"until" kind:"time"`
}

// TrustIssuer is another issuer.
type TrustIssuer struct {
	Issuer      string   `key:"issuer" kind:"required"`
	JWKSURL     string   `key:"jwks_url" kind:"url"`
	Audience    string   `key:"audience" kind:"required"`
	Algorithms  []string `key:"algorithms" oneof:"EdDSA,ES256,RS256"`
	TrustGrants bool     `key:"trust_grants"`
	Claims      Claims   `key:"claims"`

	KeyAge      time.Duration `key:"key_age" min:"0s" max:"1h"`
	UserPrefix  string        `key:"user_prefix"`
	ShareUsers  bool          `key:"share_users"`
	Revocations Revocations   `key:"revocations"`
}

// Claims names the claims of another issuer that mean something here; see docs/tokens.md.
type Claims struct {
	User    string `key:"user"`
	Client  string `key:"client"`
	Session string `key:"session"`
	Groups  string `key:"groups"`
	Grants  string `key:"grants"`
}

// End is when a key ends; zero for never.
func (k SigningKey) End() time.Time {
	t, _ := time.Parse(time.RFC3339, k.Until) // checked when it was read
	return t
}

// SigningKeys returns the keys of our tokens as they are read.
func (a Auth) SigningKeys() []jose.KeyConfig {
	var all []jose.KeyConfig
	for _, k := range a.Keys {
		pem := k.PrivateKey.Reveal()
		if pem == "" {
			pem = k.PublicKey
		}
		all = append(all, jose.KeyConfig{ID: k.ID, Algorithm: k.Algorithm, PEM: []byte(pem), Secret: []byte(k.Secret.Reveal()), Until: k.End()})
	}
	return all
}

// Issuers returns the other issuers as they are trusted.
func (a Auth) Issuers() []trust.Config {
	var all []trust.Config
	for _, t := range a.Trust {
		all = append(all, trust.Config{
			Issuer: t.Issuer, Audience: t.Audience, JWKSURL: t.JWKSURL, Algorithms: t.Algorithms, TrustGrants: t.TrustGrants,
			Claims: trust.Claims(t.Claims), KeyAge: t.KeyAge, UserPrefix: t.UserPrefix, ShareUsers: t.ShareUsers,
			LostRevocations: trust.LostRevocations(t.Revocations.Lost),
		})
	}
	return all
}
