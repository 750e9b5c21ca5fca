package events

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/retry"
)

// sender sends the log to one webhook: one request after the other, each until it is taken or given up. Of several processes
// one sends: the one that holds the webhook's cursor.
type sender struct {
	Webhook
	server  *Server
	owner   string
	client  *http.Client
	metrics *webhookMetrics

	// Of the goroutine that sends.
	at       bus.Position // of the last event that is done with
	noted    bus.Position // of the cursor
	waiting  []entry      // read and not sent yet: fewer than a request takes
	size     int          // how many events the next request has at most; from 1 to Batch
	failures int          // in a row
	refusals int          // of the same event, in a row
	given    bool         // an event was given up since the last one that was taken
}

// cursor is the name that the webhook's place is kept under.
func (w *sender) cursor() string { return "webhook:" + w.Name }

// run sends whenever this process holds the webhook's place, until ctx ends.
func (w *sender) run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	lease := w.server.cfg.Lease
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		start := time.Now()
		at, held, err := w.server.store.Claim(call, w.cursor(), w.owner, lease)
		cancel()
		if err == nil && held {
			w.hold(ctx, at, start.Add(lease))
		}
		retry.Wait(ctx, lease/6+retry.Jitter(lease/6))
	}
	return nil
}

// hold sends from a position on while the place is held.
func (w *sender) hold(ctx context.Context, at bus.Position, until time.Time) {
	term, cancel := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { defer cancel(); w.renew(term, until) })
	w.at, w.noted, w.failures, w.refusals, w.given, w.size, w.waiting = at, at, 0, 0, false, w.Batch, nil
	w.serve(term)
	cancel()
	renewing.Wait()
	w.lag(time.Time{})
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer stop()
	if err := w.server.store.Release(last, w.cursor(), w.owner); err != nil {
		w.server.cfg.Log.Debug("cannot release a webhook", slog.String("webhook", w.Name), slog.String("error", err.Error()))
	}
}

// renew prolongs the claim until ctx ends, or until somebody else holds it, or it may be about to end.
func (w *sender) renew(ctx context.Context, until time.Time) {
	lease := w.server.cfg.Lease
	ticker := time.NewTicker(lease / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		start := time.Now()
		call, cancel := context.WithTimeout(ctx, lease/5)
		_, held, err := w.server.store.Claim(call, w.cursor(), w.owner, lease)
		cancel()
		switch {
		case err == nil && held:
			until = start.Add(lease)
		case err == nil, time.Now().After(until.Add(-lease / 5)):
			return
		}
	}
}

// errOver ends a replay because the place is not held any more.
var errOver = errors.New("the webhook's place is not held any more")

// serve sends what the log has and what comes.
func (w *sender) serve(ctx context.Context) {
	wake, leave := w.server.readers.join()
	defer leave()
	for ctx.Err() == nil {
		if err := w.readOn(ctx); err != nil {
			if ctx.Err() == nil {
				w.server.cfg.Log.Warn("a webhook cannot go on, trying again", slog.String("webhook", w.Name), slog.String("error", err.Error()))
				retry.Wait(ctx, time.Second)
			}
			continue
		}
		w.lag(time.Time{})
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// readOn sends everything after the position. A webhook that is new begins now.
func (w *sender) readOn(ctx context.Context) error {
	if w.at.IsZero() {
		top, err := w.server.top(ctx)
		if err != nil {
			return err
		}
		w.at = top
		return w.note(ctx)
	}
	w.waiting = nil
	var missed error
	next, err := w.server.tail.Replay(ctx, bus.EventLog, w.at, func(g bus.Gap) {
		e := bus.Event{Kind: bus.EventGap, Millis: time.Now().UnixMilli(), Reason: string(g.Reason), ID: bus.EventID(
			"gap", g.From.Epoch, strconv.FormatUint(g.From.Offset, 10), g.To.Epoch, strconv.FormatUint(g.To.Offset, 10))}
		missed = w.add(ctx, entry{id: e.ID, body: bodyOf(e, g.To, g.From), at: g.To, published: w.server.store.Now()})
	}, func(m *bus.Message) error {
		if missed != nil {
			return missed
		}
		return w.message(ctx, m)
	})
	if err == nil {
		err = missed
	}
	if err == nil {
		err = w.flush(ctx, 1)
	}
	if err != nil {
		return err
	}
	w.at = next
	return w.note(ctx)
}

// message sends one event, if it is wanted, or puts it with those that go together.
func (w *sender) message(ctx context.Context, m *bus.Message) error {
	e, err := bus.EventOf(m)
	if err == nil && w.wants(e) {
		return w.add(ctx, entry{id: e.ID, body: bodyOf(e, m.Position, bus.Position{}), at: m.Position, published: m.Published})
	}
	if n := len(w.waiting); n > 0 {
		w.waiting[n-1].at = m.Position
	} else {
		w.at = m.Position
	}
	return ctx.Err()
}

// add puts an event behind those that wait, and sends as soon as they fill a request.
func (w *sender) add(ctx context.Context, e entry) error {
	w.waiting = append(w.waiting, e)
	return w.flush(ctx, w.size)
}

// flush sends while so many events wait. The place is written once for each request.
func (w *sender) flush(ctx context.Context, least int) error {
	for len(w.waiting) > 0 && len(w.waiting) >= min(least, w.size) {
		done, err := w.deliver(ctx, w.waiting[:min(len(w.waiting), w.size)])
		if err != nil {
			return err
		}
		w.at = w.waiting[done-1].at
		w.waiting = w.waiting[done:]
		if err := w.note(ctx); err != nil {
			return err
		}
	}
	return nil
}

// note keeps the position, trying until the store has it or the place is not held any more. It tries once in any case.
func (w *sender) note(ctx context.Context) error {
	for w.noted != w.at {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		held, err := w.server.store.Advance(call, w.cursor(), w.owner, w.at, w.server.cfg.Lease)
		cancel()
		switch {
		case err == nil && held:
			w.noted = w.at
		case err == nil:
			return errOver
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			retry.Wait(ctx, 250*time.Millisecond)
		}
	}
	return ctx.Err()
}

// lingering returns a context that ends a little after ctx. So a stop does not cut off a request that is about to be taken,
// which would be sent again.
func lingering(ctx context.Context) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		retry.Wait(longer, time.Second)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}

// deliver sends events in one request until it is taken, or they are given up. It returns how many of them are done with, counted
// from the first. A request that is refused is made smaller, so that what the receiver does not take stands alone in the end.
func (w *sender) deliver(ctx context.Context, list []entry) (int, error) {
	for {
		w.lag(list[0].published)
		id, body := request(list, w.Batch > 1)
		call, done := lingering(ctx)
		err := w.post(call, w.client, id, body)
		done()
		if err == nil {
			w.count("sent")
			w.failures, w.refusals, w.given = 0, 0, false
			w.size = min(max(w.size, len(list))*2, w.Batch)
			return len(list), nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err() // whoever holds the place sends it again
		}
		w.count("failed")
		if w.failures == 0 {
			w.server.cfg.Log.Warn("a webhook does not take an event, trying on",
				slog.String("webhook", w.Name), slog.String("event", id), slog.Int("events", len(list)), slog.String("error", err.Error()))
		}
		if n := len(list); n > 1 && refused(err) {
			w.size = n / 2
			list = list[:w.size]
			retry.Wait(ctx, w.backoff(err))
			continue
		}
		if n := w.giveUp(ctx, list, err); n > 0 {
			return n, ctx.Err()
		}
	}
}

// giveUp rests after a failure, and returns how many of the first events are not tried again. That is a single one that was
// refused too often, or all that are too old.
func (w *sender) giveUp(ctx context.Context, list []entry, err error) int {
	if refused(err) {
		w.refusals++
	}
	now := w.server.store.Now()
	rest := w.GiveUpAfter - now.Sub(list[0].published)
	old := 0
	for old < len(list) && now.Sub(list[old].published) >= w.GiveUpAfter {
		old++
	}
	often := len(list) == 1 && w.refusals >= w.GiveUpTries
	if !often {
		retry.Wait(ctx, min(w.backoff(err), max(rest, w.server.cfg.RetryMin)))
		w.failures++
	}
	if rest > 0 && !often {
		return 0
	}
	old = max(old, 1)
	w.metrics.deliveries.WithLabelValues(w.Name, "dropped").Add(float64(old))
	if often && rest > 0 {
		w.server.cfg.Log.Error("an event is given up: the webhook has refused it too often",
			slog.String("webhook", w.Name), slog.String("event", list[0].id), slog.Int("tries", w.refusals), slog.String("error", err.Error()))
		w.failures, w.refusals = 0, 0
		return old
	}
	if !w.given {
		w.server.cfg.Log.Error("an event is given up; so are those after it until the webhook takes one",
			slog.String("webhook", w.Name), slog.String("event", list[0].id), slog.Duration("after", w.GiveUpAfter))
	}
	w.given, w.refusals = true, 0
	return old
}

// backoff is how long to wait after a failure: doubled each time, with full jitter, and as long as the receiver asks for.
func (w *sender) backoff(err error) time.Duration {
	cfg := w.server.cfg
	limit := min(cfg.RetryMin<<min(w.failures, 20), cfg.RetryMax)
	wait := retry.Jitter(limit)
	if f, ok := errors.AsType[*failure](err); ok {
		wait = max(wait, f.after)
	}
	return wait
}

func (w *sender) count(outcome string) { w.metrics.deliveries.WithLabelValues(w.Name, outcome).Inc() }

func (w *sender) lag(since time.Time) {
	lag := 0.0
	if !since.IsZero() {
		lag = max(time.Since(since).Seconds(), 0)
	}
	w.metrics.lag.WithLabelValues(w.Name).Set(lag)
}

// wants says whether an event is sent.
func (w *sender) wants(e bus.Event) bool {
	return len(w.Kinds) == 0 || e.Kind == bus.EventGap || slices.Contains(w.Kinds, e.Kind)
}

type webhookMetrics struct {
	deliveries *prometheus.CounterVec
	lag        *prometheus.GaugeVec
}
