package behind

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// Acks tells the store what was written and what was acknowledged. Sessions do not wait for it: what comes while a
// call is under way goes with the next one.
type Acks struct {
	store   bus.Inboxes
	timeout time.Duration
	log     *slog.Logger
	unnoted prometheus.Counter // notes that were dropped

	sent    queue[bus.Ack]
	waiting queue[*acking]
	worker  worker

	mu sync.Mutex
	of map[string]int // messages that wait to be acknowledged, by connection
}

// acking is one ack command of a connection.
type acking struct {
	connection string
	acks       []bus.Ack
	done       func([]error)
}

const (
	// ackBatch is how many acks go into one call, about.
	ackBatch = 512
	// sentLimit is how many notes of what was written may wait. More are dropped: a receipt then says less
	// than is true, and never more.
	sentLimit = 1 << 16
	// ackLimit is how many messages may wait to be acknowledged. More are refused.
	ackLimit = 1 << 17
	// AckLimitOf is how many of them may be of one connection.
	AckLimitOf = 1 << 14
)

// errAcksWait refuses an ack.
var errAcksWait = bus.ErrStoreUnavailable.With("too many acks wait for the store", nil)

func newAcks(store bus.Inboxes, cfg Config, unnoted prometheus.Counter) *Acks {
	wake := make(chan struct{}, 1)
	a := &Acks{
		store: store, timeout: cfg.CallTimeout, log: cfg.Logger, unnoted: unnoted,
		sent:    queue[bus.Ack]{limit: sentLimit, wake: wake},
		waiting: queue[*acking]{limit: ackLimit, wake: wake, size: func(c *acking) int { return len(c.acks) }},
		of:      make(map[string]int),
	}
	a.worker = worker{wake: wake, step: a.send}
	return a
}

// Wrote notes that messages were written to a device.
func (a *Acks) Wrote(notes []bus.Ack) {
	for i, n := range notes {
		if !a.sent.put(n) {
			a.unnoted.Add(float64(len(notes) - i))
			return
		}
	}
}

// Ack acknowledges messages for a connection and calls done with what became of each. It returns an error, and does nothing,
// when as many wait already as may.
func (a *Acks) Ack(connection string, list []bus.Ack, done func([]error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(list)
	// The bound of one connection keeps one client from taking the room of all others.
	if n > 0 && a.of[connection]+n > AckLimitOf || !a.waiting.put(&acking{connection, list, done}) {
		return errAcksWait
	}
	a.of[connection] += n
	return nil
}

// Flush waits until the store has what was acknowledged before.
func (a *Acks) Flush(ctx context.Context) error {
	done := make(chan struct{})
	// Calls come one after the other, so an empty command ends after everything before it.
	if err := a.Ack("", nil, func([]error) { close(done) }); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// Waiting says how many acks and how many notes wait.
func (a *Acks) Waiting() (acks, sent int) { return a.waiting.filled(), a.sent.filled() }

func (a *Acks) run(ctx context.Context) { a.worker.run(ctx) }

// send makes one call with what waits.
func (a *Acks) send(ctx context.Context) (bool, error) {
	sent, commands := a.sent.take(ackBatch), a.waiting.take(ackBatch)
	if len(sent)+len(commands) == 0 {
		return false, nil
	}
	a.taken(commands)
	// A call that has begun is not given up when the edge stops: its acks would be answered as failed, and be done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	if len(sent) > 0 { // before the acks: a device that was given a message is to be known when the others have acknowledged it
		if err := a.store.MarkSent(ctx, sent); err != nil {
			a.log.Warn("receipts could not be brought up to date", "error", err.Error())
		}
	}
	if len(commands) > 0 {
		a.call(ctx, commands)
	}
	return true, nil // what failed was answered, and is not tried again
}

// taken counts commands as waiting no more.
func (a *Acks) taken(commands []*acking) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range commands {
		if a.of[c.connection] -= len(c.acks); a.of[c.connection] <= 0 {
			delete(a.of, c.connection)
		}
	}
}

// call acknowledges the messages of commands and answers each command.
func (a *Acks) call(ctx context.Context, commands []*acking) {
	var all []bus.Ack
	for _, c := range commands {
		all = append(all, c.acks...)
	}
	errs := a.store.Ack(ctx, all)
	for _, c := range commands {
		c.done(errs[:len(c.acks)])
		errs = errs[len(c.acks):]
	}
}
