package fan

import (
	"context"
	"errors"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// ReplayTimeout bounds one replay; a client that takes longer resumes from where it came to.
const ReplayTimeout = time.Minute

// policy is what the client gets when it is too slow.
func (s *Subscription) policy() bus.Overload {
	if s.owned {
		return bus.Disconnect // its inbox waits for it, and is delivered again
	}
	return s.to.shard.hub.cfg.Namespaces.For(s.address).Policy()
}

// fallBehind stops writing to a subscription until the client has read its backlog. The caller holds the lock.
func (s *Subscription) fallBehind(due []*parcel) {
	policy := s.policy()
	s.to.shard.hub.metrics.lagging.WithLabelValues(string(policy)).Inc()
	switch policy {
	case bus.Disconnect:
		s.to.Slow()
		return
	case bus.CatchUp:
		from, ok := before(due)
		if !ok {
			return // nothing that the log could give again
		}
		for _, p := range due {
			s.line.Show(p.position()) // none of it was written, but the log is known to have it
		}
		s.line.Rest(from)
		s.lag = &lag{}
		s.holding, s.missed = true, true
	default:
		s.lag = newLag()
		s.pile(due)
	}
	s.to.wait(s)
}

// pile keeps parcels for a client that is behind. The caller holds the lock.
func (s *Subscription) pile(due []*parcel) {
	cfg := &s.to.shard.hub.cfg
	s.lag.pile(s.address, due, s.to.Conn.Queue()/4, cfg.Namespaces.For(s.address).ConflateKey)
}

// takePiled returns what was kept, a gap first when something was dropped. It returns nil when the subscription is up to
// date; from then on the subscription is written to again.
func (s *Subscription) takePiled() []*parcel {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	if s.lag == nil || s.gone.Load() {
		return nil
	}
	due := s.lag.due()
	if s.lag.lossy {
		due = append([]*parcel{s.to.shard.hub.gapParcel(s.lag.skipped)}, due...)
	}
	if len(due) == 0 {
		s.lag = nil
		return nil
	}
	s.lag = newLag() // for what comes while this is written
	return due
}

// wait puts a subscription among those that catch up when the client has read its backlog. The caller holds the lock.
func (s *Subscriber) wait(sub *Subscription) {
	s.behind = append(s.behind, sub)
	if !s.catching { // one goroutine for all of them: they share the backlog, too
		s.catching = true
		s.Conn.WhenDrained(func() { s.shard.hub.cfg.Go(s, s.catchUp) })
	}
}

// nextBehind returns a subscription that is behind; nil when there is none, and then nobody catches up.
func (s *Subscriber) nextBehind() *Subscription {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if len(s.behind) == 0 {
		s.catching, s.behind = false, nil
		return nil
	}
	sub := s.behind[0]
	s.behind = s.behind[1:]
	return sub
}

// catchUp gives a client that has read its backlog what it was not given, at its own pace.
func (s *Subscriber) catchUp() {
	for sub := s.nextBehind(); sub != nil; sub = s.nextBehind() {
		ctx, cancel := context.WithTimeout(context.Background(), ReplayTimeout)
		err := s.catchUpOn(ctx, sub)
		cancel()
		if err != nil {
			s.Session.Refuse(rpc.FromError(err))
			return
		}
	}
}

func (s *Subscriber) catchUpOn(ctx context.Context, sub *Subscription) error {
	if sub.holding { // set before s.behind, and changed by this goroutine alone
		return s.Session.CatchUp(ctx, sub)
	}
	for due := sub.takePiled(); due != nil; due = sub.takePiled() {
		if out := s.join(due); len(out) > 0 {
			switch err := s.paced(ctx, out, &sub.gone); {
			case errors.Is(err, errLeft):
				return nil
			case err != nil:
				return err
			}
		}
	}
	return nil
}
