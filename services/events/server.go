// Package events is the EventService. It sends the log of events to back ends, as streams and as signed webhooks, and writes what
// dead processes left untold.
package events

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/retry"
	"github.com/trunkline/trunkline/internal/tail"
)

// Store is what the service needs of a store.
type Store interface {
	bus.Feeds
	bus.Log
	bus.Reaper
	bus.Cursors
	bus.Clock
}

// Config tunes the service. The zero value of a field means its default.
type Config struct {
	// Namespaces says how the log of events is kept. While it is not, every call is refused with ErrEventsDisabled.
	Namespaces bus.Namespaces
	// Webhooks are who is sent events.
	Webhooks []Webhook
	// Node is the name of this process among those that send.
	Node string
	// Lease is how long a process that sends may be silent before another one takes over; 15 s by default.
	Lease time.Duration
	// RetryMin and RetryMax bound the pause after a failed try, which doubles each time; 1 s and 5 min by default.
	RetryMin, RetryMax time.Duration
	// Log hears of what has to be tried again; discarded by default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Lease = cmp.Or(c.Lease, 15*time.Second)
	c.RetryMin, c.RetryMax = cmp.Or(c.RetryMin, time.Second), cmp.Or(c.RetryMax, 5*time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server is the service. Streams and webhooks need Run; everything may be used concurrently.
type Server struct {
	hooksv1.UnimplementedEventServiceServer
	store    Store
	cfg      Config
	tail     *tail.Tail
	readers  *readers
	senders  []*sender
	draining chan struct{} // closed when Run ends
}

// New returns a server. It fails when a webhook is not well configured.
func New(store Store, cfg Config, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Namespaces.Validate(); err != nil {
		return nil, err
	}
	s := &Server{store: store, cfg: cfg, readers: &readers{wakes: make(map[chan struct{}]bool)}, draining: make(chan struct{})}
	s.tail = tail.New(store, s.readers, tail.Config{Namespaces: cfg.Namespaces, Logger: cfg.Log})
	s.tail.Register(reg, "events")
	var err error
	s.senders, err = newSenders(s, reg)
	return s, err
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { hooksv1.RegisterEventServiceServer(r, s) }

func (s *Server) enabled() bool { return s.cfg.Namespaces.Events.Durable() }

// Run follows the log, reaps and sends until ctx ends, ends the streams and returns nil. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { close(s.draining) })()
	if !s.enabled() {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.tail.Run(ctx) })
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.reap(ctx) })
	for _, w := range s.senders {
		g.Go(func() error { return w.run(ctx) })
	}
	return g.Wait()
}

// callTimeout is how long the store may take for one call.
const callTimeout = 2 * time.Second

// follow keeps the log followed, trying until it succeeds.
func (s *Server) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := s.tail.Acquire(call, bus.EventLog)
		cancel()
		if err == nil {
			s.readers.wake() // what came meanwhile
			<-ctx.Done()
			s.tail.Release(bus.EventLog)
			return nil
		}
		s.cfg.Log.Warn("cannot follow the log of events yet", slog.String("error", err.Error()))
		retry.Wait(ctx, time.Second)
	}
	return nil
}

// reap looks, as every edge does, for those who died without a word: there may be no edge left to do so.
func (s *Server) reap(ctx context.Context) error {
	for ctx.Err() == nil {
		retry.Wait(ctx, 750*time.Millisecond+retry.Jitter(500*time.Millisecond))
		for more := true; more && ctx.Err() == nil; {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			var err error
			more, err = s.store.Reap(call, bus.NodeTTL)
			cancel()
			if err != nil {
				s.cfg.Log.Debug("cannot look for those who have gone", slog.String("error", err.Error()))
				more = false
			}
		}
	}
	return nil
}

// readers are those who read the log. What the tail brings only wakes them: each reads on from its own position.
type readers struct {
	mu    sync.Mutex
	wakes map[chan struct{}]bool
}

var _ tail.Sink = (*readers)(nil)

// Deliver wakes the readers.
func (r *readers) Deliver(*bus.Message) { r.wake() }

// Gap wakes the readers, who find it themselves.
func (r *readers) Gap(bus.Gap) { r.wake() }

func (r *readers) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.wakes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// join returns what wakes a reader, and what ends that.
func (r *readers) join() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakes[c] = true
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.wakes, c)
	}
}

// top returns the newest position of the log.
func (s *Server) top(ctx context.Context) (bus.Position, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tops, errs := s.store.Tops(call, []bus.Address{bus.EventLog})
	return tops[0], bus.FirstError(errs)
}

func newSenders(s *Server, reg prometheus.Registerer) ([]*sender, error) {
	if len(s.cfg.Webhooks) == 0 {
		return nil, nil
	}
	m := &webhookMetrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_webhook_deliveries_total", Help: "Requests to webhooks that were taken (sent) or failed, and events given up (dropped).",
		}, []string{"webhook", "outcome"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trunkline_webhook_lag_seconds", Help: "Age of the event that a webhook has to take next; 0 when it has taken all.",
		}, []string{"webhook"}),
	}
	if reg != nil {
		reg.MustRegister(m.deliveries, m.lag)
	}
	var all []*sender
	for _, w := range s.cfg.Webhooks {
		u, err := url.Parse(w.URL)
		switch {
		case w.Name == "" || slices.ContainsFunc(all, func(o *sender) bool { return o.Name == w.Name }):
			return nil, fmt.Errorf("webhook %q: the name is empty or taken", w.Name)
		case err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !w.AllowPrivate):
			return nil, fmt.Errorf("webhook %q: the URL is not https", w.Name) // which may hold a secret
		case len(w.Secrets) == 0:
			return nil, fmt.Errorf("webhook %q: there is no secret to sign with", w.Name)
		}
		w.Timeout, w.GiveUpAfter = cmp.Or(w.Timeout, 10*time.Second), cmp.Or(w.GiveUpAfter, 24*time.Hour)
		w.GiveUpTries = cmp.Or(w.GiveUpTries, 12)
		w.Batch = max(w.Batch, 1)
		for _, outcome := range []string{"sent", "failed", "dropped"} {
			m.deliveries.WithLabelValues(w.Name, outcome)
		}
		m.lag.WithLabelValues(w.Name)
		all = append(all, &sender{
			Webhook: w, server: s, owner: s.cfg.Node + "~" + uuid.NewString(), client: newClient(w.AllowPrivate), metrics: m,
		})
	}
	return all, nil
}
