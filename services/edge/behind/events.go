package behind

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/quota"
)

// Events tells the log of events who connects and who disconnects, in order. The store remembers who is connected, so that
// others tell of their end when this process is killed. Connects beyond the limit are left out, each with its disconnect,
// and told as a gap. Those of a user that has filled its share of the log are left out in the same way, and only counted.
type Events struct {
	store   eventStore
	door    *bus.Door
	keep    bus.Retention // nothing is told while it is zero
	node    string
	life    string
	timeout time.Duration
	log     *slog.Logger
	dropped prometheus.Counter
	shares  *quota.Shares // of sessions that open and end
	queue   queue[news]
	worker  worker

	mu      sync.Mutex
	open    map[string]*bus.Connection // told as connected, or about to be
	missing uint64                     // connects that were left out since the last gap

	// Of the worker.
	known   int    // connections that the store remembers, as far as is known here
	skipped uint64 // connects left out that the next gap tells of
	gaps    int
	silent  bool // the store refuses, which was logged
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
	// aliveEvery is how often the store hears that this process is alive. When it is killed, the end of its connections is
	// known as exactly as that. It is also how long the log is left alone after it took nothing.
	aliveEvery = time.Second
	// eventFlush is how long the last events may take to be written when the edge stops.
	eventFlush = 5 * time.Second
)

func newEvents(store eventStore, door *bus.Door, cfg Config, dropped prometheus.Counter) *Events {
	if cfg.Events <= 0 {
		cfg.Events = eventLimit
	}
	e := &Events{
		store: store, door: door, keep: cfg.Namespaces.Events, node: cfg.Node, life: cfg.Life, timeout: cfg.CallTimeout,
		log: cfg.Logger, dropped: dropped, shares: quota.SharesOfLog(cfg.Namespaces.EventsPerHour, dropped), queue: queue[news]{limit: cfg.Events, wake: make(chan struct{}, 1)},
		open: make(map[string]*bus.Connection),
	}
	e.worker = worker{
		wake: e.queue.wake, step: e.write, rest: aliveEvery, last: eventFlush, tick: e.alive, every: aliveEvery,
	}
	return e
}

// Connected notes a session that has opened.
func (e *Events) Connected(id string, who *bus.Identity) {
	// Its end will be an event too.
	if !e.keep.Durable() || !e.shares.Take(cmp.Or(who.User, who.Client), 2) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := bus.Connection{ID: id, Client: who.Client, User: who.User, Session: who.Session, Millis: time.Now().UnixMilli()}.Clone()
	c.Node = e.node // one text for all
	if !e.queue.put(news{Connection: c}) {
		e.missing++
		e.dropped.Inc()
		return
	}
	e.open[c.ID] = &c
}

// Disconnected notes that a session has ended: at the time at which it was lost, or now.
func (e *Events) Disconnected(id, reason string, lost time.Time) {
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
	// The queue may be full. The end is told all the same, or the store would take the connection for open.
	e.queue.force(news{Connection: *c, ended: lost, reason: reason})
}

func (e *Events) run(ctx context.Context) {
	if e.keep.Durable() && !e.worker.run(ctx) {
		e.log.Warn("events were left unwritten; others tell that these connections have ended", slog.Int("events", e.queue.filled()))
	}
}

// write writes one batch.
func (e *Events) write(ctx context.Context) (bool, error) {
	batch := e.queue.take(eventBatch)
	e.mu.Lock()
	e.skipped, e.missing = e.skipped+e.missing, 0
	e.mu.Unlock()
	if len(batch) == 0 && e.skipped == 0 {
		return false, nil
	}
	err := e.send(ctx, batch)
	if err != nil {
		e.queue.back(batch)
		if !e.silent {
			e.log.Warn("events cannot be written, trying on", slog.String("error", err.Error()))
		}
	}
	e.silent = err != nil
	return true, err
}

// send tells of connections; it may be repeated. A connection is remembered before the log has its beginning, and
// forgotten after the log has its end.
func (e *Events) send(ctx context.Context, list []news) error {
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
			ID: bus.EventID("gap", e.life, strconv.Itoa(e.gaps)), Kind: bus.EventGap, Millis: time.Now().UnixMilli(),
			Node: e.node, Missing: e.skipped, Reason: "overflow",
		}))
	}
	if len(opened) > 0 {
		if err := e.store.Opened(ctx, e.life, opened); err != nil {
			return err
		}
	}
	if _, errs := e.store.PublishAll(ctx, told); errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	if len(ended) > 0 {
		if err := e.store.Ended(ctx, e.life, ended); err != nil {
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

// alive says that this process is alive. The store may remember fewer connections than it was told of, because it lost them
// or because the process was taken for dead. They are then told again as connected.
func (e *Events) alive(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	there, err := e.store.Alive(call, e.life)
	if err != nil || e.worker.stuck || there >= e.known {
		return
	}
	e.log.Warn("the store has forgotten open connections; they are told again", slog.Int("known", e.known), slog.Int("there", there))
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := make(map[string]bool)
	var ended []string
	e.queue.each(func(n news) {
		if n.ended.IsZero() {
			waiting[n.ID] = true
		} else {
			ended = append(ended, n.ID)
		}
	})
	var again []news
	for id, c := range e.open {
		if !waiting[id] {
			c.Turn++
			again = append(again, news{Connection: *c})
		}
	}
	e.queue.back(again) // before the ends that wait
	e.known = 0
	for _, id := range ended {
		if !waiting[id] {
			e.known++ // its end is still to come
		}
	}
	signal(e.queue.wake)
}
