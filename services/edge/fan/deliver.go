package fan

import (
	"errors"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// A device may have a message that asks for an ack when the grants of its token allow the address. Where the authorizer is
// asked about deliveries, it has to allow that too. Asking takes time, so the subscription holds while somebody asks. What
// comes after such a message waits for it; the other addresses of the connection do not wait.

// pass writes the joined frames of parcels to the subscriber. It returns false when they were not written. The caller holds the
// lock, and has read the shard's clock.
func (s *Subscription) pass(out []byte, due []*parcel) bool {
	to := s.to
	if to.Conn.Expired(to.shard.clock) { // this process may have stood still since the sweep before
		to.Session.Refuse(bus.ErrTokenExpired)
		return false
	}
	err := to.Conn.SendMessages(out, to.shard.attempt)
	if errors.Is(err, wire.ErrSlow) {
		s.fallBehind(due)
	}
	return err == nil
}

// noteSent notes which of the parcels that were handed to the connection ask for an ack.
func (s *Subscription) noteSent(due []*parcel) {
	if !s.owned {
		return
	}
	var notes []bus.Ack
	for _, p := range due {
		if p.m != nil && p.m.Ack != 0 {
			notes = append(notes, bus.Ack{To: p.m.To, ID: p.m.ID, Device: s.to.ClientID()})
		}
	}
	if len(notes) > 0 { // a message in the backlog is not delivered yet
		s.to.Conn.AfterWritten(func() { s.to.shard.hub.cfg.Wrote(notes) })
	}
}

// Asks says whether the device has to be asked about before it is given a message that asks for an ack. Either the
// authorizer is to be asked, or the token does not allow any more what it allowed when the subscription began.
func (s *Subscription) Asks() bool {
	who := s.to.Identity()
	return s.asks || who != nil && !who.Allows(bus.Subscribe, s.address)
}

// doubtful says whether one of the parcels must be asked about before it is written. The caller holds the lock.
func (s *Subscription) doubtful(due []*parcel) bool {
	for _, p := range due {
		if p.asksForAck() {
			return s.Asks()
		}
	}
	return false
}

// ask holds parcels until it is known which of them may be written. The caller holds the lock.
func (s *Subscription) ask(due []*parcel) {
	s.holding = true
	s.hold(due)
	s.to.shard.hub.cfg.Go(s.to, s.answer)
}

// answer asks about what a subscription holds and writes what may be written, until nothing is held.
func (s *Subscription) answer() {
	for held := s.takeHeld(); held != nil; held = s.takeHeld() {
		list := make([]*bus.Message, len(held))
		for i, p := range held {
			if p.asksForAck() && !p.m.Expired(s.to.shard.hub.cfg.Now()) { // an expired one is withheld anyway, and must not be noted as denied
				list[i] = p.m
			}
		}
		denied, err := s.to.Session.Denied(s, list)
		if err != nil {
			s.to.Session.Refuse(rpc.FromError(err))
			return
		}
		allowed := held[:0]
		for i, p := range held {
			if !denied[i] {
				allowed = append(allowed, p)
			}
		}
		s.writeHeld(allowed)
	}
}

// takeHeld returns what a subscription holds; nil when there is nothing, and then it holds no more.
func (s *Subscription) takeHeld() []*parcel {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	switch {
	case s.gone.Load():
		return nil
	case s.missed: // its inbox waits for it
		s.to.Slow()
		return nil
	}
	held := s.held
	if s.catching {
		var sure bool
		if held, sure = s.sift(held); !sure {
			s.reread(nil)
			return nil
		}
	}
	s.letGo()
	if len(held) == 0 {
		s.holding = false // under the same lock as the look, so nothing can come in between and wait for ever
		return nil
	}
	return held
}

// writeHeld writes what was asked about.
func (s *Subscription) writeHeld(allowed []*parcel) {
	s.to.shard.mu.Lock()
	defer s.to.shard.mu.Unlock()
	if !s.gone.Load() {
		s.write(allowed)
	}
}
