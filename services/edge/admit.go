package edge

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// A device may have a message that asks for an ack when the grants of its token allow the address and, where the
// authorizer is asked about deliveries, that does. Asking takes time, so the subscription holds while somebody asks:
// what comes after such a message waits for it, and the other addresses of the connection do not.

// doubtful says whether one of the parcels must be asked about before it is written. The caller holds the shard's lock.
func (s *subscription) doubtful(due []*parcel) bool {
	for _, p := range due {
		if p.asksForAck() {
			return s.asks || !s.session.granted(s)
		}
	}
	return false
}

func (p *parcel) asksForAck() bool { return p.m != nil && p.m.Ack != 0 && p.m.Kind == bus.MessageData }

// granted says whether the token allows what was allowed when the subscription began.
func (s *session) granted(sub *subscription) bool {
	who := s.identity.Load()
	return who == nil || who.Allows(bus.Subscribe, sub.address)
}

// question holds parcels until it is known which of them may be written. The caller holds the shard's lock.
func (sh *shard) question(sub *subscription, due []*parcel) {
	sub.holding = true
	sh.hold(sub, due)
	sh.owner.writers.Go(func() { sub.session.admit(sub) })
}

// admit asks about what a subscription holds and writes what may be written, until nothing is held.
func (s *session) admit(sub *subscription) {
	defer s.recovered()
	for held := s.shard.takeHeld(sub); held != nil; held = s.shard.takeHeld(sub) {
		list := make([]*bus.Message, len(held))
		for i, p := range held {
			if p.asksForAck() && !p.m.Expired(s.shard.owner.store.Now()) {
				list[i] = p.m
			}
		}
		denied, err := s.denied(sub, list)
		if err != nil {
			s.refuse(rpc.FromError(err))
			return
		}
		allowed := held[:0]
		for i, p := range held {
			if !denied[i] {
				allowed = append(allowed, p)
			}
		}
		s.shard.writeHeld(sub, allowed)
	}
}

// takeHeld returns what a subscription holds; nil when there is nothing, and then it holds no more.
func (sh *shard) takeHeld(sub *subscription) []*parcel {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sub.gone:
		return nil
	case sub.missed: // its inbox waits for it
		sh.owner.metrics.slow.Inc()
		sub.session.refuse(bus.ErrSlowConsumer)
		return nil
	}
	held := sub.held
	if sub.catching {
		var sure bool
		if held, sure = sub.sift(held); !sure {
			sh.reread(sub, nil)
			return nil
		}
	}
	sh.letGo(sub)
	if len(held) == 0 {
		sub.holding = false
		return nil
	}
	return held
}

// writeHeld writes what was asked about.
func (sh *shard) writeHeld(sub *subscription, allowed []*parcel) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sub.gone {
		return
	}
	sh.clock = time.Now().UnixMilli()
	if out := sub.session.join(allowed); len(out) > 0 && sh.pass(sub, out, allowed) {
		sub.session.noteSent(sub, allowed)
	}
}
