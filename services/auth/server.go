// Package auth is the AuthService: it issues, validates, refreshes and revokes tokens.
package auth

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/recent"
	"github.com/trunkline/trunkline/internal/trust"
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
	// Leeway is how far ahead of ours the clock of whoever made a token may be.
	Leeway time.Duration
	// Explain tells everybody why a token is refused. Development only.
	Explain bool
	// Log gets what was refused and why, at most one line for each check in a while; nil for none.
	Log *slog.Logger
	// Registry gets the metrics; nil for none.
	Registry prometheus.Registerer
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Trust is another issuer whose tokens are accepted.
type Trust = trust.Config

// Claims names the claims of another issuer that mean something here.
type Claims = trust.Claims

// LostRevocations is what becomes of a token that was issued before the store lost revocations: it may have been revoked.
type LostRevocations = trust.LostRevocations

// The choices.
const (
	LostExpire = trust.LostExpire
	LostAllow  = trust.LostAllow
)

// Default returns the defaults.
func Default() Config {
	return Config{
		Issuer: "trunkline", Audience: "trunkline",
		AccessTTL: 15 * time.Minute, MaxTTL: 24 * time.Hour, RefreshTTL: 30 * 24 * time.Hour, LostRevocations: LostExpire,
		Leeway: time.Minute,
	}
}

// Server is the AuthService. It may be used concurrently.
type Server struct {
	authv1.UnimplementedAuthServiceServer
	store  Store
	cfg    Config
	ring   *jose.Ring
	trust  []*issuer
	recent *recent.Cache[[sha256.Size]byte, verified]
	teller *teller
	lead   lead // of those who sign with our keys and say the time in seconds
}

// signatureMemory is how many verified tokens are remembered, and signatureBytes how much memory they take at most. Whether they are
// revoked is asked every time.
const (
	signatureMemory = 50_000
	signatureBytes  = 64 << 20
)

// New returns a server. It fails when a key or an issuer cannot be used.
func New(store Store, cfg Config) (*Server, error) {
	d := Default()
	cfg.Issuer, cfg.Audience = cmp.Or(cfg.Issuer, d.Issuer), cmp.Or(cfg.Audience, d.Audience)
	cfg.AccessTTL, cfg.MaxTTL = cmp.Or(cfg.AccessTTL, d.AccessTTL), cmp.Or(cfg.MaxTTL, d.MaxTTL)
	cfg.RefreshTTL = cmp.Or(cfg.RefreshTTL, d.RefreshTTL)
	cfg.LostRevocations = cmp.Or(cfg.LostRevocations, d.LostRevocations)
	cfg.Leeway = cmp.Or(cfg.Leeway, d.Leeway)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		store: store, cfg: cfg, recent: recent.New[[sha256.Size]byte, verified](signatureMemory, signatureBytes),
		teller: &teller{log: cfg.Log, now: cfg.Now, kinds: map[string]*told{}},
	}
	var err error
	if s.ring, err = jose.NewRing(cfg.Keys, cfg.Algorithms, cfg.Now()); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if s.trust, err = newIssuers(cfg); err != nil {
		return nil, err
	}
	s.measure(cfg.Registry)
	return s, nil
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { authv1.RegisterAuthServiceServer(r, s) }

// longestLife is the longest that any token lives, whoever made it.
func (s *Server) longestLife() time.Duration { return max(s.cfg.MaxTTL, s.cfg.RefreshTTL, opaqueLife) }

// opaqueLife is how long tokens of the older system live.
const opaqueLife = 30 * 24 * time.Hour
