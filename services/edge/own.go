package edge

import (
	"context"
	"slices"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// A client follows its own addresses without asking, so it has no subscription whose position it could give back. It is
// told where they stand when it connects, gives that back the next time, and hears of what was lost while it was away.

// ownLimit is how many positions of own addresses a connect may give back.
const ownLimit = 256

// hadOwn reads what a connect gives back.
func hadOwn(c *edgev1.Connect, bad *bus.Invalid) map[bus.Address]bus.Position {
	if n := len(c.GetOwn()); n > ownLimit {
		bad.Add("connect.own", "has %d entries, the limit is %d", n, ownLimit)
		return nil
	}
	had := make(map[bus.Address]bus.Position, len(c.GetOwn()))
	for _, o := range c.GetOwn() {
		a := bad.Address("connect.own.address", o.GetAddress())
		if p := o.GetPosition(); p.GetEpoch() != "" {
			had[a] = bus.Position{Epoch: p.GetEpoch(), Offset: p.GetOffset()}
		}
	}
	return had
}

// findLost finds out what was lost of the own addresses since the client was there. After an error nothing is followed.
func (s *session) findLost(ctx context.Context, o *opening, had map[bus.Address]bus.Position) error {
	for i, sub := range o.own {
		after, ok := had[sub.address]
		if !ok {
			continue
		}
		gap, err := s.owner.tail.Missing(ctx, sub.address, o.positions[i], after)
		if err != nil {
			s.abandon()
			return err
		}
		if gap != nil {
			s.owner.metrics.gaps.Inc()
			o.lost = append(o.lost, *gap)
		}
	}
	return nil
}

// places says where own addresses stand; of those alone of which something is kept, if so.
func places(subs []*subscription, at []bus.Position, kept bool) []*edgev1.OwnAddress {
	var all []*edgev1.OwnAddress
	for i, sub := range subs {
		if !kept || !at[i].IsZero() {
			all = append(all, &edgev1.OwnAddress{Address: sub.address.String(), Position: positionProto(at[i])})
		}
	}
	return all
}

// followNew follows the own addresses of an identity that the session does not follow yet, holding. After an error nothing has changed.
func (s *session) followNew(ctx context.Context, who *bus.Identity) ([]*subscription, []bus.Position, error) {
	var fresh []*subscription
	for _, a := range s.own(who) {
		if !slices.ContainsFunc(s.subs, func(sub *subscription) bool { return sub.address == a }) {
			fresh = append(fresh, newSubscription(s, who, a))
		}
	}
	if len(fresh) == 0 {
		return nil, nil, nil
	}
	positions, err := s.follow(ctx, who, fresh)
	return fresh, positions, err
}
