// Package behind tells the store what sessions have done: what was written and acknowledged, who connected, and who is
// subscribed. No session waits for it. Everything goes through bounded queues, whose workers write in batches and try
// again when the store refuses.
package behind

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// Behind has what is told, by subject. Its parts may be used concurrently, and write while Run runs.
type Behind struct {
	Acks   *Acks
	Events *Events
	Roster *Roster
}

// New returns the queues, empty. Events are admitted by the door.
func New(store Store, door *bus.Door, cfg Config, reg prometheus.Registerer) *Behind {
	m := newMetrics(reg)
	b := &Behind{
		Acks:   newAcks(store, cfg, m.unnoted),
		Events: newEvents(store, door, cfg, m.untold),
		Roster: newRoster(store, cfg, m.untold, m.damped),
	}
	m.queue("acks", b.Acks.waiting.filled)
	m.queue("sent", b.Acks.sent.filled)
	m.queue("rosters", b.Roster.Waiting)
	m.queue("events", b.Events.queue.filled)
	return b
}

// Run writes until ctx ends, and then what is left.
func (b *Behind) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { b.Acks.run(ctx); return nil })
	g.Go(func() error { b.Events.run(ctx); return nil })
	g.Go(func() error { b.Roster.run(ctx); return nil })
	return g.Wait()
}
