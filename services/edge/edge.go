// Package edge holds the WebSocket connections. It validates each one's token by a gRPC call and follows the addresses that
// its clients ask for. It writes each message once in every encoding to all of them.
package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

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

	guard   *access.Guard
	follows bool // the follower of revocations is this edge's own

	// The way of a message: from the tail to the hub, and by its subscribers to their sockets.
	tail    *tail.Tail
	hub     *fan.Hub
	sockets *wire.Sockets
	behind  *behind.Behind // what the store is told of it

	writers    sync.WaitGroup // of backlogs, and of those who catch up
	complained atomic.Int64   // when the log last had something that cannot be encoded, in Unix seconds
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
	if err := e.newGuard(authv1.NewAuthServiceClient(conns.Auth), reg); err != nil {
		return nil, err
	}
	e.sockets = wire.New(wire.Config{
		QueueBytes: cfg.QueueBytes, CrowdBytes: cfg.DialectQueueBytes, WriteTimeout: cfg.WriteTimeout, CloseTimeout: cfg.CloseTimeout, CloseWait: cfg.CloseWait,
		FramesPerSecond: int32(min(cfg.FramesPerSecond, math.MaxInt32)), Go: e.writers.Go,
	})
	e.metrics.crowd(reg, e.sockets)
	e.behind = behind.New(store, e.writer.door, behind.Config{
		Node: cfg.Node, Life: cfg.Life, Namespaces: cfg.Namespaces, CallTimeout: cfg.CallTimeout, LostGrace: cfg.LostGrace,
		Departures: cfg.Departures, Events: cfg.EventQueue, Logger: log, Relist: e.relist,
	}, reg)
	e.hub = fan.New(fan.Config{
		Dialects: dialects, Namespaces: cfg.Namespaces, Authorizer: cfg.Authorizer,
		HoldLimit: cfg.HoldLimit, HoldBytes: cfg.HoldBytes, HoldTotal: cfg.HoldTotal,
		ShardParcels: cfg.ShardParcels, ShardBytes: cfg.ShardBytes,
		Now: store.Now, Wrote: e.behind.Acks.Wrote, Go: e.goFor, Tick: e.sweep, Unencodable: e.unencodable,
	}, reg)
	e.tail = tail.New(store, e.hub, tail.Config{Namespaces: cfg.Namespaces, Logger: log})
	e.tail.Register(reg, "edge")
	return e, nil
}

// newGuard makes what decides who gets in and stays in.
func (e *Edge) newGuard(auth authv1.AuthServiceClient, reg prometheus.Registerer) (err error) {
	revocations := e.cfg.Revocations
	if revocations == nil {
		revocations, e.follows = revoked.New(e.store, revoked.Config{Log: e.log}), true
	}
	e.guard, err = access.NewGuard(auth, revocations, access.Config{
		AllowedOrigins: e.cfg.AllowedOrigins, DevLoopback: e.cfg.DevLoopback,
		Connections: e.cfg.Connections, ConnectionsPerIP: e.cfg.ConnectionsPerIP,
		ConnectionsPerToken: e.cfg.ConnectionsPerToken, ConnectionsPerUser: e.cfg.ConnectionsPerUser,
		ConnectsInProgress: e.cfg.ConnectsInProgress,
		CallTimeout:        e.cfg.CallTimeout, Tickets: e.cfg.Tickets, Log: e.log,
	}, reg)
	if err == nil {
		revocations.Add(e.standing)
	}
	return err
}

// goFor runs f for one subscriber, whose session alone ends when f panics.
func (e *Edge) goFor(sub *fan.Subscriber, f func()) {
	e.writers.Go(func() {
		defer sessionOf(sub).recovered(nil)
		f()
	})
}

// unencodable counts an answer or an event that could not be put into words. It is logged at most once in ten seconds.
func (e *Edge) unencodable(why error) {
	e.metrics.unencodable.Inc()
	now := time.Now().Unix()
	if last := e.complained.Load(); now-last >= 10 && e.complained.CompareAndSwap(last, now) {
		e.log.Error("an answer or an event cannot be encoded; its client is told so", "error", why)
	}
}

// Connections returns how many connections there are.
func (e *Edge) Connections() int64 { return int64(e.guard.Connections()) }

// Ready returns nil while messages are known to reach this edge, and otherwise says why not.
func (e *Edge) Ready() error {
	if !e.guard.IsOpen() {
		return bus.ErrDraining
	}
	return cmp.Or(e.tail.Ready(), e.guard.Revocations.Ready())
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
		g.Go(func() error { return e.guard.Revocations.Run(inner) })
	}
	g.Go(func() error { return e.trimHeap(inner) })
	g.Go(e.sockets.Run)
	e.guard.Open()
	select {
	case <-ctx.Done():
	case <-inner.Done():
	}
	left := e.drain()
	e.guard.Tokens.Wait()
	e.sockets.Close()
	stop()
	return errors.Join(left, g.Wait())
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
