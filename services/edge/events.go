package edge

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// events tells the log of events who connects and who disconnects, behind the sessions: what waits is written by one
// goroutine in order, and a slow store holds up nobody. The store remembers who is connected, so that others tell of
// their end when this process is killed. Connects beyond the limit are left out, each with its disconnect, and told as
// a gap. All methods may be called concurrently.
type events struct {
	store   eventStore
	door    *bus.Door
	keep    bus.Retention // nothing is told while it is zero
	node    string
	run     string
	timeout time.Duration
	limit   int // how many connects may wait
	log     *slog.Logger
	dropped prometheus.Counter
	wake    chan struct{}

	mu      sync.Mutex
	open    map[string]*bus.Connection // told as connected, or about to be
	queue   []news
	missing uint64 // connects that were left out since the last gap

	// Of the goroutine.
	batch   []news // taken from the queue, in front of it
	known   int    // connections that the store remembers, as far as is known here
	skipped uint64 // connects left out that the next gap tells of
	gaps    int
	stuck   bool // the store did not take the last write
}

type eventStore interface {
	bus.Connections
	bus.Publisher
}

// news is one connection that has opened, or that has ended.
type news struct {
	bus.Connection
	ended  time.Time // zero for one that has opened
	reason string
}

const (
	// eventLimit is how many connects may wait to be told.
	eventLimit = 1 << 16
	// eventBatch is how many are written at once.
	eventBatch = 256
	// aliveEvery is how often the store hears that this process is alive: as exactly the end of its connections is known
	// when it is killed.
	aliveEvery = time.Second
	// eventFlush is how long the last events may take to be written when the edge stops.
	eventFlush = 5 * time.Second
)

func newEvents(store eventStore, door *bus.Door, cfg Config, log *slog.Logger, dropped prometheus.Counter) *events {
	return &events{
		store: store, door: door, keep: cfg.Namespaces.Events, node: cfg.Node, run: cfg.Run, timeout: cfg.CallTimeout,
		limit: eventLimit, log: log, dropped: dropped, wake: make(chan struct{}, 1), open: make(map[string]*bus.Connection),
	}
}

// connected notes a session that has opened.
func (e *events) connected(id string, who *bus.Identity) {
	if !e.keep.Durable() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) >= e.limit {
		e.missing++
		e.dropped.Inc()
		return
	}
	c := &bus.Connection{
		ID: id, Client: who.Client, User: who.User, Session: who.Session, Node: e.node, Millis: time.Now().UnixMilli(),
	}
	e.open[id] = c
	e.queue = append(e.queue, news{Connection: *c})
	signal(e.wake)
}

// disconnected notes that a session has ended: at the time at which it was lost, or now.
func (e *events) disconnected(id, reason string, lost time.Time) {
	if !e.keep.Durable() {
		return
	}
	if lost.IsZero() {
		lost = time.Now()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.open[id]
	if c == nil {
		return // it did not connect, or that was not told
	}
	delete(e.open, id)
	e.queue = append(e.queue, news{Connection: *c, ended: lost, reason: reason})
	signal(e.wake)
}

// length is how many wait to be told.
func (e *events) length() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue)
}

// serve writes until ctx ends, and then what is left within a bound.
func (e *events) serve(ctx context.Context) {
	if !e.keep.Durable() {
		return
	}
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for {
		wake := e.wake
		if e.stuck {
			wake = nil // not before the next tick
		}
		select {
		case <-ctx.Done():
			e.finish(ctx, ticker.C)
			return
		case <-ticker.C:
			e.alive(ctx)
		case <-wake:
		}
		e.write(ctx)
	}
}

// finish writes what is left.
func (e *events) finish(ctx context.Context, tick <-chan time.Time) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventFlush)
	defer cancel()
	for e.write(last); e.stuck; e.write(last) {
		select {
		case <-tick:
		case <-last.Done():
			e.log.Warn("events were left unwritten; others tell that these connections have ended", slog.Int("events", len(e.batch)))
			return
		}
	}
}

// write writes everything that waits, or as much as the store takes.
func (e *events) write(ctx context.Context) {
	for {
		if len(e.batch) == 0 {
			e.mu.Lock()
			e.batch, e.queue = e.queue, nil
			e.skipped, e.missing = e.skipped+e.missing, 0
			e.mu.Unlock()
		}
		if len(e.batch) == 0 && e.skipped == 0 {
			e.stuck = false
			return
		}
		n := min(len(e.batch), eventBatch)
		if err := e.send(ctx, e.batch[:n]); err != nil {
			if !e.stuck {
				e.log.Warn("events cannot be written, trying on", slog.String("error", err.Error()))
			}
			e.stuck = true
			return
		}
		e.batch = e.batch[n:]
	}
}

// send writes a part of what waits; it may be repeated. A connection is remembered before the log has its beginning, and
// forgotten after the log has its end.
func (e *events) send(ctx context.Context, list []news) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	var opened []bus.Connection
	var ended []string
	told := make([]bus.Admitted, 0, len(list)+1)
	for _, n := range list {
		if n.ended.IsZero() {
			opened = append(opened, n.Connection)
			told = append(told, e.door.Tell(n.Connected()))
		} else {
			ended = append(ended, n.ID)
			told = append(told, e.door.Tell(n.Disconnected(n.ended, n.reason)))
		}
	}
	if e.skipped > 0 {
		told = append(told, e.door.Tell(bus.Event{
			ID: bus.EventID("gap", e.run, strconv.Itoa(e.gaps)), Kind: bus.EventGap, Millis: time.Now().UnixMilli(),
			Node: e.node, Missing: e.skipped, Reason: "overflow",
		}))
	}
	if len(opened) > 0 {
		if err := e.store.Opened(ctx, e.run, opened); err != nil {
			return err
		}
	}
	if _, errs := e.store.PublishAll(ctx, told); errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	if len(ended) > 0 {
		if err := e.store.Ended(ctx, e.run, ended); err != nil {
			return err
		}
	}
	if e.skipped > 0 {
		e.skipped = 0
		e.gaps++
	}
	e.known += len(opened) - len(ended)
	return nil
}

// alive says that this process is alive. When the store remembers fewer connections than it was told of, because it lost
// them or because the process was taken for dead, they are told again as connected.
func (e *events) alive(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	there, err := e.store.Alive(call, e.run)
	if err != nil || e.stuck || there >= e.known {
		return
	}
	e.log.Warn("the store has forgotten open connections; they are told again", slog.Int("known", e.known), slog.Int("there", there))
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := make(map[string]bool, len(e.queue))
	for _, n := range e.queue {
		if n.ended.IsZero() {
			waiting[n.ID] = true
		}
	}
	for id, c := range e.open {
		if !waiting[id] {
			c.Turn++
			e.batch = append(e.batch, news{Connection: *c})
		}
	}
	e.known = 0
	for _, n := range e.queue {
		if !n.ended.IsZero() && !waiting[n.ID] {
			e.known++ // its end is still to come
		}
	}
}
