// Package auth is the AuthService: it issues, validates, refreshes and revokes tokens.
package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Store is what the service needs of a store.
type Store interface {
	bus.Tokens
	bus.Families
	bus.Revocations
	bus.Clock
}

// Config says how tokens are made. The zero value of a field means that of Default.
type Config struct {
	// Issuer and Audience are the claims iss and aud.
	Issuer, Audience string
	// Keys are ours; the first one signs. At least one.
	Keys []KeyConfig
	// Algorithms that are accepted in our own tokens; those of Keys by default.
	Algorithms []string
	// AccessTTL is for tokens that ask for none; MaxTTL is the longest.
	AccessTTL, MaxTTL time.Duration
	// RefreshTTL is how long a refresh token lives.
	RefreshTTL time.Duration
	// Trust lists other issuers.
	Trust []Trust
	// LostRevocations says what becomes of tokens that were issued before revocations may have been lost.
	LostRevocations LostRevocations
	// Sessions is asked about sessions of an older system that nobody has registered; nil for nobody.
	Sessions bus.SessionResolver
	// Charging takes the refresh tokens and revocations that callers make the store keep from their accounts; nil for nobody.
	Charging bus.Charging
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// LostRevocations is what becomes of a token that was issued before the store lost revocations: it may have been revoked.
type LostRevocations string

// The choices.
const (
	// LostExpire answers it as expired: its owner gets a new one, if it may.
	LostExpire LostRevocations = "expire"
	// LostAllow believes it.
	LostAllow LostRevocations = "allow"
)

// Default returns the defaults.
func Default() Config {
	return Config{
		Issuer: "trunkline", Audience: "trunkline",
		AccessTTL: 15 * time.Minute, MaxTTL: 24 * time.Hour, RefreshTTL: 30 * 24 * time.Hour, LostRevocations: LostExpire,
	}
}

// Server is the AuthService. It may be used concurrently.
type Server struct {
	authv1.UnimplementedAuthServiceServer
	store  Store
	cfg    Config
	keys   []*key
	trust  []*issuer
	parser *jwt.Parser
	recent *lru.Cache[[sha256.Size]byte, verified]
}

// signatureMemory is how many verified tokens are remembered. Whether they are revoked is asked every time.
const signatureMemory = 50_000

// New returns a server. It fails when a key or an issuer cannot be used.
func New(store Store, cfg Config) (*Server, error) {
	d := Default()
	cfg.Issuer, cfg.Audience = cmp.Or(cfg.Issuer, d.Issuer), cmp.Or(cfg.Audience, d.Audience)
	cfg.AccessTTL, cfg.MaxTTL = cmp.Or(cfg.AccessTTL, d.AccessTTL), cmp.Or(cfg.MaxTTL, d.MaxTTL)
	cfg.RefreshTTL = cmp.Or(cfg.RefreshTTL, d.RefreshTTL)
	cfg.LostRevocations = cmp.Or(cfg.LostRevocations, d.LostRevocations)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Keys) == 0 {
		return nil, fmt.Errorf("auth: no key is configured")
	}
	recent, _ := lru.New[[sha256.Size]byte, verified](signatureMemory) // fails for no positive size
	s := &Server{store: store, cfg: cfg, recent: recent}
	for i, c := range cfg.Keys {
		k, err := parseKey(c)
		if err != nil {
			return nil, err
		}
		if i == 0 && k.private == nil {
			return nil, fmt.Errorf("auth key %q: the first key signs, so it must be a private one", c.ID)
		}
		if slices.ContainsFunc(s.keys, func(other *key) bool { return other.id == k.id }) {
			return nil, fmt.Errorf("auth key %q is configured twice", c.ID)
		}
		s.keys = append(s.keys, k)
	}
	if err := s.checkAlgorithms(); err != nil {
		return nil, err
	}
	for _, t := range cfg.Trust {
		is, err := newIssuer(t)
		if err != nil {
			return nil, err
		}
		if t.Issuer == cfg.Issuer || slices.ContainsFunc(s.trust, func(other *issuer) bool { return other.cfg.Issuer == t.Issuer }) {
			return nil, fmt.Errorf("auth.trust %q: the issuer is our own or configured twice", t.Issuer)
		}
		for _, other := range s.trust {
			if is.overlap(other) && (!t.ShareUsers || !other.cfg.ShareUsers) {
				return nil, fmt.Errorf("auth.trust %q and %q: a user of one would be a user of the other; give them a user_prefix of their own, or both share_users",
					t.Issuer, other.cfg.Issuer)
			}
		}
		s.trust = append(s.trust, is)
	}
	s.parser = newParser(s.cfg.Issuer, s.cfg.Audience, s.cfg.Algorithms, cfg.Now)
	return s, nil
}

func (s *Server) checkAlgorithms() error {
	if len(s.cfg.Algorithms) == 0 {
		for _, k := range s.keys {
			s.cfg.Algorithms = append(s.cfg.Algorithms, k.method.Alg())
		}
	}
	for _, a := range s.cfg.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return fmt.Errorf("auth.algorithms: %q is not one of %v", a, Algorithms())
		}
	}
	for _, k := range s.keys {
		if !slices.Contains(s.cfg.Algorithms, k.method.Alg()) {
			return fmt.Errorf("auth key %q: its algorithm %s is not in auth.algorithms", k.id, k.method.Alg())
		}
	}
	return nil
}

// clockSkew is how far the clock of whoever made a token may be ahead of ours. The end of a token knows no
// such tolerance: identities end at exp.
const clockSkew = 5 * time.Second

// issuerTolerance is how far a time of issue may be off that another issuer says, in whole seconds.
const issuerTolerance = clockSkew + time.Second

// newParser is strict: the algorithm is listed, iss, aud and exp are there, base64 has no stray bits.
func newParser(issuer, audience string, algorithms []string, now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(algorithms),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(now),
		jwt.WithLeeway(clockSkew),
	)
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { authv1.RegisterAuthServiceServer(r, s) }

func encodeKey(id string, private ed25519.PrivateKey) (KeyConfig, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return KeyConfig{}, fmt.Errorf("encode a key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return KeyConfig{ID: id, Algorithm: "EdDSA", PEM: text}, nil
}

// longestLife is the longest that any token lives, whoever made it.
func (s *Server) longestLife() time.Duration { return max(s.cfg.MaxTTL, s.cfg.RefreshTTL, opaqueLife) }

// opaqueLife is how long tokens of the older system live.
const opaqueLife = 30 * 24 * time.Hour
