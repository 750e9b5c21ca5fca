package publish

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// sweepEvery is how often messages are looked for whose time has come.
	sweepEvery = 250 * time.Millisecond
	// sweepLimit is how many are taken at once.
	sweepLimit = 256
)

// sweep settles messages whose deadline or end has come: every publish service does, and the store lends
// each message to one of them at a time.
func (s *Server) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for s.sweepSome(ctx) == sweepLimit {
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// sweepSome returns how many messages it looked at.
func (s *Server) sweepSome(ctx context.Context) int {
	due, err := s.store.DueDeliveries(ctx, sweepLimit)
	if err != nil {
		return 0 // the store is away, which readiness tells
	}
	for _, d := range due {
		if err := s.tellSettled(ctx, d); err != nil {
			s.log.Warn("an event could not be written, it is tried again", slog.String("to", d.To.String()), slog.String("error", err.Error()))
			continue // and settled after that
		}
		out, err := s.store.Settle(ctx, d)
		if err != nil {
			s.log.Warn("a message could not be settled, it is tried again", slog.String("to", d.To.String()), slog.String("error", err.Error()))
			continue
		}
		if out.Changed != 0 && s.settled != nil {
			s.settled(ctx, d, out.Changed)
		}
	}
	return min(len(due), sweepLimit)
}

// tellSettled writes the event of a message that was stored or has expired. It does so before Settle, which says so only
// once: who dies in between leaves the message to somebody who writes the same event again, and that counts as one.
func (s *Server) tellSettled(ctx context.Context, due bus.Due) error {
	keep := s.cfg.Namespaces.Events
	if !keep.Durable() {
		return nil
	}
	d, err := s.store.Delivery(ctx, due.To, due.ID, false)
	if errors.Is(err, bus.ErrMessageNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e := bus.Event{Address: due.To.String(), Message: due.ID}
	switch d.State(time.Now()) {
	case bus.StateStored, bus.StateDenied: // kept in either case
		e.Kind, e.Millis = bus.EventStored, d.Deadline.UnixMilli()
	case bus.StateExpired:
		e.Kind, e.Millis, e.Reason = bus.EventExpired, d.Expires.UnixMilli(), cmp.Or(string(d.Reason), string(bus.EndTTL))
		if !d.Ended.IsZero() {
			e.Millis = d.Ended.UnixMilli()
		}
	default:
		return nil
	}
	e.ID = bus.EventID(string(e.Kind), e.Address, e.Message)
	in, err := bus.Door{}.Admit(ctx, bus.System{}, e.Publication(keep))
	if err != nil {
		return err
	}
	_, err = s.store.Publish(ctx, in)
	return err
}

// Settled is told of each message that was stored or has expired; see Config.Settled.
type Settled func(ctx context.Context, d bus.Due, state bus.DeliveryState)
