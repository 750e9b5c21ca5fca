package publish

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// sweepEvery is how often messages are looked for whose time has come.
	sweepEvery = 250 * time.Millisecond
	// sweepBatch is how many are settled together, and sweepFlights how many batches are under way at once.
	sweepBatch   = 256
	sweepFlights = 4
	// measureEvery is how often the backlog is measured.
	measureEvery = time.Second
)

// sweep settles messages whose deadline or end has come. Every publish service does, and the store lends
// each message to one of them at a time.
func (s *Server) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	measured := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if time.Since(measured) >= measureEvery {
			measured = time.Now()
			s.measure(ctx)
		}
		s.sweepAll(ctx)
	}
}

// sweepAll settles what is due, several batches at once, until nothing is or a second has passed.
func (s *Server) sweepAll(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(sweepFlights)
	for began := time.Now(); ctx.Err() == nil && time.Since(began) < measureEvery; {
		due, err := s.store.DueDeliveries(ctx, sweepBatch)
		if err != nil || len(due) == 0 {
			break // when the store is away, readiness tells
		}
		g.Go(func() error {
			s.settle(ctx, due)
			return nil
		})
	}
	_ = g.Wait() // what could not be settled is lent again later
}

// settle judges messages, tells what comes of them, and carries it out. It tells first, because carrying out says only once what
// it did. A process that dies in between leaves the message to another one, which tells the same event again, and that counts as
// one.
func (s *Server) settle(ctx context.Context, due []bus.Due) {
	verdicts, errs := s.store.Judge(ctx, due)
	judged := verdicts[:0]
	for i, v := range verdicts {
		if errs[i] == nil {
			judged = append(judged, v)
		}
	}
	told := s.tell(ctx, judged)
	_, settleErrs := s.store.SettleAll(ctx, told)
	if err := firstOf(errs, settleErrs); err != nil && ctx.Err() == nil {
		s.log.Warn("messages could not be settled, they are tried again", slog.Int("messages", len(due)), slog.String("error", err.Error()))
	}
}

// firstOf returns the first error of the lists.
func firstOf(lists ...[]error) error {
	for _, list := range lists {
		for _, err := range list {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// tell writes the events of what comes of messages, and returns the verdicts that may be carried out. What comes of messages whose
// sender has had its share of the log is carried out, too, and not told.
func (s *Server) tell(ctx context.Context, verdicts []bus.Verdict) []bus.Verdict {
	if !s.cfg.Namespaces.Events.Durable() {
		return verdicts
	}
	var events []bus.Admitted
	var of []int // the verdict of each event
	failed := make(map[int]bool)
	for i, v := range verdicts {
		if v.Changed == 0 && v.Reason == "" || v.Author != "" && !s.shares.Take(v.Author, 1) {
			continue
		}
		events, of = append(events, s.door.Tell(settledEvent(v))), append(of, i)
	}
	if len(events) > 0 {
		_, errs := s.store.PublishAll(ctx, events)
		for j, err := range errs {
			failed[of[j]] = err != nil
		}
		if err := firstOf(errs); err != nil {
			s.log.Warn("events could not be written, they are tried again", slog.String("error", err.Error()))
		}
	}
	out := make([]bus.Verdict, 0, len(verdicts))
	for i, v := range verdicts {
		if !failed[i] {
			out = append(out, v)
		}
	}
	return out
}

// settledEvent is the event of a message that is stored, expires, or has left its inbox for another reason.
func settledEvent(v bus.Verdict) bus.Event {
	e := bus.Event{Kind: bus.EventStored, Address: v.To.String(), Message: v.ID, Millis: v.Deadline.UnixMilli()}
	switch {
	case v.Reason != "":
		e.Kind, e.Millis, e.Reason = bus.EventExpired, v.Ended.UnixMilli(), string(v.Reason)
	case v.Changed == bus.StateExpired:
		e.Kind, e.Millis, e.Reason = bus.EventExpired, v.Expires.UnixMilli(), string(bus.EndTTL)
	}
	e.ID = bus.EventID(string(e.Kind), e.Address, e.Message)
	return e
}

// measure notes how much there is to settle.
func (s *Server) measure(ctx context.Context) {
	stats, err := s.store.DueStats(ctx)
	if err != nil {
		return
	}
	s.metrics.due.Set(float64(stats.Count))
	s.metrics.late.Set(stats.Late.Seconds())
}
