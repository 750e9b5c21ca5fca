// Package access decides who gets in and who stays in: by origin, by number, by the auth service's word, by ticket, until
// a revocation.
package access

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/revoked"
)

// Config says who gets in.
type Config struct {
	// AllowedOrigins lists which pages may connect besides those of the same origin, as package origin reads it.
	AllowedOrigins []string
	// DevLoopback also allows every page served from a loopback address.
	DevLoopback bool
	// How many connections the process may have, and how many of one peer; 0 for no limit.
	Connections, ConnectionsPerIP int
	// How many connections one token and one user may have; 0 for no limit.
	ConnectionsPerToken, ConnectionsPerUser int
	// ConnectsInProgress is how many connects are worked on at once.
	ConnectsInProgress int
	// CallTimeout is for calls of the auth service.
	CallTimeout time.Duration
	// Tickets says whether connections are given resume tickets.
	Tickets Tickets
	// Log is told of an address that has many connections; nobody by default.
	Log *slog.Logger
}

// Guard is everything that decides about one edge's connections. Its methods may be used concurrently.
type Guard struct {
	Origins     *Origins
	Tokens      *Validator
	Tickets     *Sealer // nil without tickets
	Revocations *revoked.Follower

	limits    *limits
	holders   *occupancy.Counter
	admission *admission

	mu    sync.RWMutex // held for reading by a handshake that takes a seat
	open  bool
	seats sync.WaitGroup
}

// NewGuard returns a guard that lets nobody in before Open.
func NewGuard(auth authv1.AuthServiceClient, revocations *revoked.Follower, cfg Config, reg prometheus.Registerer) (*Guard, error) {
	origins, err := NewOrigins(cfg.AllowedOrigins, cfg.DevLoopback)
	if err != nil {
		return nil, err
	}
	tickets, err := NewSealer(cfg.Tickets)
	if err != nil {
		return nil, err
	}
	admission := newAdmission(cfg.ConnectsInProgress)
	return &Guard{
		Origins: origins, Tickets: tickets, Revocations: revocations, admission: admission,
		Tokens: NewValidator(auth, cfg.CallTimeout, admission, reg),
		limits: newLimits(cfg.Connections, cfg.ConnectionsPerIP, cfg.crowded),
		holders: occupancy.New(occupancy.Limits{
			Token: occupancy.Limit{Most: cfg.ConnectionsPerToken, Setting: "edge.connections_per_token"},
			User:  occupancy.Limit{Most: cfg.ConnectionsPerUser, Setting: "edge.connections_per_user"},
		}),
	}, nil
}

// crowded warns of an address that has half of what it may have. Most often it is a proxy that nobody has named, and then clients
// are refused that have done nothing.
func (c Config) crowded(ip string, connections int) {
	if c.Log != nil {
		c.Log.Warn("one address has many connections; if it is a proxy, name it in http.trusted_proxies", slog.String("address", ip),
			slog.Int("connections", connections), slog.String("setting", "edge.connections_per_ip"), slog.Int("limit", c.ConnectionsPerIP))
	}
}

// Open lets connections in, and Close none any more.
func (g *Guard) Open() { g.setOpen(true) }

// Close lets no more connections in.
func (g *Guard) Close() { g.setOpen(false) }

func (g *Guard) setOpen(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
}

// IsOpen says whether connections are let in.
func (g *Guard) IsOpen() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.open
}

// Wait waits until all seats are free, after Close.
func (g *Guard) Wait() { g.seats.Wait() }

// Connections returns how many there are.
func (g *Guard) Connections() int { return g.limits.Connections() }

// InProgress is how many connects are worked on.
func (g *Guard) InProgress() int { return g.admission.InProgress() }

// Seat is what one connection is counted in. It is used by one goroutine at a time.
type Seat struct {
	guard      *Guard
	ip         string
	connecting bool          // it is among the connects in progress
	who        *bus.Identity // whose it counts as; nil before Hold
}

// Admit gives a handshake from an address a seat, and counts it among the connects in progress. The argument later says that
// a token comes with a connect after it.
func (g *Guard) Admit(ip string, later bool) (Seat, error) {
	s := Seat{guard: g, ip: ip}
	if err := s.Connect(); err != nil {
		return s, err
	}
	if g.Tickets == nil && later && g.Tokens.Overloaded() { // that connect would be refused
		s.Connected()
		return s, g.admission.Refuse("edge.call_timeout")
	}
	if err := g.limits.Enter(ip); err != nil {
		s.Connected()
		return s, err
	}
	if !g.sit() {
		s.Leave()
		return s, bus.ErrDraining.Retry(LeastDelay + rand.N(LeastDelay)) //nolint:gosec // jitter, not a secret
	}
	return s, nil
}

// sit takes a seat. The lock keeps a handshake from taking one while Wait, after Close, finds all of them free.
func (g *Guard) sit() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.open {
		g.seats.Add(1)
	}
	return g.open
}

// Connect counts the connection among the connects in progress, or refuses that.
func (s *Seat) Connect() error {
	if err := s.guard.admission.Enter(); err != nil {
		return err
	}
	s.connecting = true
	return nil
}

// Connected ends a connect in progress, if there is one.
func (s *Seat) Connected() {
	if s.connecting {
		s.connecting = false
		s.guard.admission.Leave()
	}
}

// Leave ends a connect in progress, and counts the connection no more.
func (s *Seat) Leave() {
	s.Connected()
	s.guard.limits.Leave(s.ip)
	if s.who != nil {
		s.guard.holders.Leave(occupancy.Of(s.who))
		s.who = nil
	}
}

// Hold counts the connection as one of an identity that a token has just shown, or refuses it. A refresh changes nothing of that.
func (s *Seat) Hold(who *bus.Identity) error {
	if err := s.guard.holders.Enter(occupancy.Of(who)); err != nil {
		return err
	}
	s.who = who
	return nil
}

// Free gives the seat back when nothing of the connection is left.
func (s *Seat) Free() { s.guard.seats.Done() }

// Redeem returns the identity of a ticket, without a call of the auth service.
func (g *Guard) Redeem(ctx context.Context, ticket string) (*bus.Identity, error) {
	id, sealed, err := g.Tickets.Open(ticket, time.Now())
	if err != nil {
		return nil, err
	}
	if err := g.Revocations.Check(ctx, id, sealed); err != nil {
		return nil, err
	}
	return id, nil
}

// Renewing says whether tickets may be sealed now. They are not while a revocation may have been missed: a ticket would carry
// that on to the next edge.
func (g *Guard) Renewing() bool { return g.Tickets != nil && g.Revocations.Sure() }
