// Package publish is the PublishService, the ChannelService, the InboxService and the StateService. It checks messages at the
// door, hands them to the store in one step, and reads them back as pages and streams.
package publish

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/quota"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/ticket"
)

// Store is what the services need of a store.
type Store interface {
	bus.Publisher
	bus.Feeds
	bus.Log
	bus.Roster
	bus.Channels
	bus.Inboxes
	bus.States
	bus.Clock
	bus.Tokens
}

// Config tunes the services. The zero value of a field means its default.
type Config struct {
	// Namespaces says how channels are kept.
	Namespaces bus.Namespaces
	// MaxMessage is the largest payload, in bytes; bus.DefaultMaxMessage unless set.
	MaxMessage int
	// MaxState is the largest state, in bytes, and no more than MaxMessage; bus.DefaultMaxState unless set.
	MaxState int
	// MaxChannels is how many channels may be created; bus.DefaultMaxChannels unless set.
	MaxChannels int
	// IdempotencyWindow is how long a key is remembered; bus.DefaultWindow unless set.
	IdempotencyWindow time.Duration
	// Credits is how many messages of a stream may be unanswered; 1024 by default.
	Credits int
	// StreamQueue is how many messages may wait for a reader of a stream; 1024 by default.
	StreamQueue int
	// Authorizer is asked about what the grants of a token allow; nil for nobody. Back ends are not asked about.
	Authorizer bus.Authorizer
	// Charging takes what callers make the store keep from their accounts; nil for nobody.
	Charging bus.Charging
	// Log hears of what has to be tried again; discarded by default.
	Log *slog.Logger
	// Registry gets the metrics; nil for nobody.
	Registry prometheus.Registerer
}

// Server is the services. Streams need Run; everything may be used concurrently.
type Server struct {
	publishv1.UnimplementedPublishServiceServer
	publishv1.UnimplementedChannelServiceServer
	publishv1.UnimplementedInboxServiceServer
	publishv1.UnimplementedStateServiceServer
	store   Store
	door    *bus.Door
	inbox   bus.Inbox
	metrics *metrics
	shares  *quota.Shares // of the events of messages with an ack
	log     *slog.Logger
	cfg     Config
	tail    *tail.Tail
	streams *streams
	tickets *ticket.Tickets

	complained atomic.Int64 // when the log last had a message that cannot be encoded, in Unix seconds
}

// New returns a server.
func New(store Store, cfg Config) (*Server, error) {
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, bus.DefaultMaxMessage)
	cfg.MaxChannels = cmp.Or(cfg.MaxChannels, bus.DefaultMaxChannels)
	cfg.IdempotencyWindow = cmp.Or(cfg.IdempotencyWindow, bus.DefaultWindow)
	cfg.Credits = cmp.Or(cfg.Credits, 1024)
	cfg.StreamQueue = cmp.Or(cfg.StreamQueue, 1024)
	if err := cfg.Namespaces.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		door: bus.NewDoor(bus.DoorConfig{
			Namespaces: cfg.Namespaces, MaxMessage: cfg.MaxMessage, MaxState: cfg.MaxState, Window: cfg.IdempotencyWindow, Authorizer: cfg.Authorizer, Channel: store.Channel,
			Charging: cfg.Charging,
		}),
		store: store, cfg: cfg, streams: newStreams(cfg.Namespaces.MembersInEvents), tickets: ticket.New(store), inbox: cfg.Namespaces.Inbox.WithDefaults(), log: cfg.Log,
		metrics: newMetrics(cfg.Registry),
	}
	s.shares = quota.SharesOfLog(cfg.Namespaces.EventsPerHour, s.metrics.untold)
	s.tail = tail.New(store, s.streams, tail.Config{Namespaces: cfg.Namespaces, Logger: cfg.Log})
	s.tail.Register(cfg.Registry, "publish")
	s.streams.crowds.Register(cfg.Registry, "publish")
	return s, nil
}

// unencodable logs a message that cannot be encoded, at most once in ten seconds.
func (s *Server) unencodable(m *bus.Message) {
	now := time.Now().Unix()
	if last := s.complained.Load(); now-last >= 10 && s.complained.CompareAndSwap(last, now) {
		s.log.Error("a message cannot be encoded; its readers are told a gap", slog.String("address", m.To.String()), slog.Uint64("offset", m.Position.Offset))
	}
}

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	publishv1.RegisterPublishServiceServer(r, s)
	publishv1.RegisterChannelServiceServer(r, s)
	publishv1.RegisterInboxServiceServer(r, s)
	publishv1.RegisterStateServiceServer(r, s)
}

// Run follows addresses for the streams until ctx ends, ends the streams, waits for them and returns nil.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.streams.drain)
	defer stop()
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return s.tail.Run(inner) })
	g.Go(func() error { return s.sweep(inner) })
	g.Go(func() error { return s.streams.crowds.Run(inner) })
	err := g.Wait()
	s.streams.wait()
	return err
}

// Ready returns nil while messages are known to reach the streams, and otherwise says why not.
func (s *Server) Ready() error { return s.tail.Ready() }
