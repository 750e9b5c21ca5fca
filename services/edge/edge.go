// Package edge holds the WebSocket connections: it validates each one's token by a gRPC call, follows
// the addresses that its clients ask for, and writes each message once in every encoding to
// all of them.
package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/services/edge/access"
	"github.com/trunkline/trunkline/services/edge/behind"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/fan"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// Store is what an edge needs of a store.
type Store interface {
	bus.Feeds
	bus.Log
	bus.Roster
	bus.Reaper
	bus.Inboxes
	bus.Connections
	bus.Clock
	bus.Publisher // of dead letters and events alone; what clients publish goes by the publish service
	bus.Revocations
}

// Conns are the connections to the other roles.
type Conns struct {
	Auth, Publish grpc.ClientConnInterface
}

// Edge holds WebSocket connections. Its handlers may be used concurrently, and accept only while Run runs.
type Edge struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	dialects []dialect.Dialect // a hub knows each by its index
	store    Store
	writer   *writer
	channels publishv1.ChannelServiceClient

	// Who gets in and stays in.
	origins     *access.Origins
	limits      *access.Limits
	admission   *access.Admission
	tokens      *access.Validator
	tickets     *access.Sealer // nil without tickets
	revocations *revoked.Follower
	follows     bool // the follower of revocations is this edge's own

	// The way of a message: from the tail to the hub, and by its subscribers to their sockets.
	tail    *tail.Tail
	hub     *fan.Hub
	sockets *wire.Sockets
	behind  *behind.Behind // what the store is told of it

	accept   sync.RWMutex // held for reading by a handshake that counts itself in sessions
	open     bool         // guarded by accept
	sessions sync.WaitGroup
	writers  sync.WaitGroup
}

// New returns an edge that speaks the dialects.
func New(store Store, conns Conns, dialects []dialect.Dialect, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Edge, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	for _, d := range dialects {
		if err := dialect.Check(d); err != nil {
			return nil, err
		}
	}
	e := &Edge{cfg: cfg, log: log, metrics: newMetrics(reg), dialects: dialects, store: store, channels: publishv1.NewChannelServiceClient(conns.Publish)}
	e.writer = &writer{
		door:    bus.NewDoor(bus.DoorConfig{Namespaces: cfg.Namespaces, Authorizer: cfg.Authorizer}),
		publish: publishv1.NewPublishServiceClient(conns.Publish), states: publishv1.NewStateServiceClient(conns.Publish),
	}
	if err := e.guard(conns, reg); err != nil {
		return nil, err
	}
	e.sockets = wire.New(wire.Config{
		QueueBytes: cfg.QueueBytes, WriteTimeout: cfg.WriteTimeout, CloseTimeout: cfg.CloseTimeout, CloseWait: cfg.CloseWait,
		Go: e.writers.Go,
	})
	e.behind = behind.New(store, e.writer.door, behind.Config{
		Node: cfg.Node, Life: cfg.Life, Namespaces: cfg.Namespaces, CallTimeout: cfg.CallTimeout, LostGrace: cfg.LostGrace,
		Events: cfg.EventQueue, Relist: e.relist,
	}, log, reg)
	e.hub = fan.New(fan.Config{
		Dialects: dialects, Namespaces: cfg.Namespaces, Authorizer: cfg.Authorizer,
		QueueBytes: cfg.QueueBytes, HoldLimit: cfg.HoldLimit, HoldBytes: cfg.HoldBytes, HoldTotal: cfg.HoldTotal,
		ShardParcels: cfg.ShardParcels, ShardBytes: cfg.ShardBytes,
		Now: store.Now, Wrote: e.behind.Acks.Wrote, Go: e.goFor, Tick: e.sweep,
	}, reg)
	e.tail = tail.New(store, e.hub, tail.Config{Namespaces: cfg.Namespaces, Logger: log})
	e.tail.Register(reg, "edge")
	return e, nil
}

// guard makes what decides who gets in and stays in.
func (e *Edge) guard(conns Conns, reg prometheus.Registerer) (err error) {
	if e.origins, err = access.NewOrigins(e.cfg.AllowedOrigins, e.cfg.DevLoopback); err != nil {
		return err
	}
	if e.tickets, err = access.NewSealer(e.cfg.Tickets); err != nil {
		return err
	}
	e.limits = access.NewLimits(e.cfg.Connections, e.cfg.ConnectionsPerIP)
	e.admission = access.NewAdmission(e.cfg.ConnectsInProgress)
	e.tokens = access.NewValidator(authv1.NewAuthServiceClient(conns.Auth), e.cfg.CallTimeout, e.admission, reg)
	if e.revocations = e.cfg.Revocations; e.revocations == nil {
		e.revocations, e.follows = revoked.New(e.store, revoked.Config{Log: e.log}), true
	}
	e.revocations.Add(e.standing)
	return nil
}

// goFor runs f for one subscriber, whose session alone ends when f panics.
func (e *Edge) goFor(sub *fan.Subscriber, f func()) {
	e.writers.Go(func() {
		defer sessionOf(sub).recovered()
		f()
	})
}

// Connections returns how many connections there are.
func (e *Edge) Connections() int64 { return int64(e.limits.Connections()) }

// Ready returns nil while messages are known to reach this edge, and otherwise says why not.
func (e *Edge) Ready() error {
	e.accept.RLock()
	defer e.accept.RUnlock()
	if !e.open {
		return bus.ErrDraining
	}
	return cmp.Or(e.tail.Ready(), e.revocations.Ready())
}

// Run serves until ctx ends. Then it accepts nobody any more, tells the clients to move, spread over
// the drain window, and waits for them. It returns nil when all have gone before the grace ended, and otherwise an error
// that says how many were cut off.
func (e *Edge) Run(ctx context.Context) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error { return e.tail.Run(inner) })
	g.Go(func() error { return e.hub.Run(inner) })
	g.Go(func() error { return e.behind.Run(inner) })
	if e.follows {
		g.Go(func() error { return e.revocations.Run(inner) })
	}
	g.Go(func() error { return e.trimHeap(inner) })
	g.Go(e.sockets.Run)
	e.setOpen(true)
	select {
	case <-ctx.Done():
	case <-inner.Done():
	}
	left := e.drain()
	e.tokens.Wait()
	e.sockets.Close()
	stop()
	return errors.Join(left, g.Wait())
}

func (e *Edge) setOpen(open bool) {
	e.accept.Lock()
	defer e.accept.Unlock()
	e.open = open
}

// enter counts a session in, unless the edge is draining.
func (e *Edge) enter() bool {
	e.accept.RLock()
	defer e.accept.RUnlock()
	if e.open {
		e.sessions.Add(1)
	}
	return e.open
}

// each calls f for every session; f must not call the hub.
func (e *Edge) each(f func(*session)) {
	e.hub.Each(func(sub *fan.Subscriber) { f(sessionOf(sub)) })
}

// sessionOf returns the session of a subscriber: every one in the hub has been made by newSession.
func sessionOf(sub *fan.Subscriber) *session { return sub.Session.(*session) } //nolint:forcetypeassert // see above

// standing returns the open sessions whose identity is wanted. Nothing is written while a shard's lock is held.
func (e *Edge) standing(wanted func(*bus.Identity) bool) []revoked.Call {
	var all []revoked.Call
	e.each(func(s *session) {
		if id := s.Identity(); id != nil && wanted(id) {
			all = append(all, standing{s})
		}
	})
	return all
}

// relist joins every subscription of an address on this node again.
func (e *Edge) relist(a bus.Address) {
	e.hub.Listed(a, func(sub *fan.Subscription) {
		s := sessionOf(sub.Subscriber())
		if who := s.Identity(); who != nil {
			e.behind.Roster.Join(a, s.member(sub, who))
		}
	})
}
