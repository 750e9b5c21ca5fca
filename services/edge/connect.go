package edge

import (
	"context"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// connect carries out a connect command.
func (s *session) connect(id uint32, c *edgev1.Connect) {
	if s.Identity() != nil {
		s.replyError(id, bus.ErrAlreadyConnected)
		return
	}
	had, err := s.readConnect(c)
	if err != nil {
		s.refuseCommand(id, rpc.FromError(err))
		return
	}
	if err := s.seat.Connect(); err != nil {
		s.refuseConnect(id, err)
		return
	}
	defer s.seat.Connected()
	asked := time.Now()
	who, err := s.identify(c)
	if err == nil {
		err = s.seat.Hold(who)
	}
	if err != nil {
		s.refuseConnect(id, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	o, err := s.open(ctx, who, asked, c.GetSubscriptions())
	if err == nil {
		err = s.findLost(ctx, o, had)
	}
	if err != nil {
		s.refuseCommand(id, rpc.FromError(err))
		return
	}
	s.welcome(id, o)
}

// ownLimit is how many positions of own addresses a connect may give back.
const ownLimit = 256

// readConnect checks the fields of a connect, and returns where its client was in its own addresses.
func (s *session) readConnect(c *edgev1.Connect) (map[bus.Address]bus.Position, error) {
	var bad bus.Invalid
	if len(c.GetName()) > 64 {
		bad.Add("connect.name", "has %d bytes, the limit is 64", len(c.GetName()))
	}
	if n := len(c.GetSubscriptions()); n > s.limit {
		bad.Add("connect.subscriptions", "has %d entries, the limit is %d", n, s.limit)
	}
	if n := len(c.GetOwn()); n > ownLimit {
		bad.Add("connect.own", "has %d entries, the limit is %d", n, ownLimit)
		return nil, bad.Err()
	}
	had := make(map[bus.Address]bus.Position, len(c.GetOwn()))
	for _, o := range c.GetOwn() {
		a := bad.Address("connect.own.address", o.GetAddress())
		if p := o.GetPosition(); p.GetEpoch() != "" {
			had[a] = convert.Position(p)
		}
	}
	return had, bad.Err()
}

// refuseConnect ends a session whose connect is refused.
func (s *session) refuseConnect(id uint32, err error) {
	e := rpc.FromError(err)
	s.edge.metrics.refuse(e)
	s.refuseCommand(id, e)
}

// identify returns who connects, by token or by ticket.
func (s *session) identify(c *edgev1.Connect) (*bus.Identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	switch {
	case c.GetTicket() != "" && c.GetToken() != "":
		var bad bus.Invalid
		bad.Add("connect.ticket", "not together with connect.token")
		return nil, bad.Err()
	case c.GetTicket() != "":
		return s.redeem(ctx, c.GetTicket())
	case c.GetToken() == "":
		return nil, bus.ErrTokenMissing.With("connect.token is empty", nil)
	}
	return s.edge.guard.Tokens.Validate(ctx, c.GetToken())
}

// findLost finds out what was lost of the own addresses since the client was there. A client follows them without asking, so
// it has no subscription whose position it could give back. It is told where they stand when it connects, and gives that
// back the next time. After an error nothing is followed.
func (s *session) findLost(ctx context.Context, o *opening, had map[bus.Address]bus.Position) error {
	for _, req := range o.followed.own {
		after, ok := had[req.sub.Address()]
		if !ok {
			continue
		}
		gap, err := s.edge.tail.Missing(ctx, req.sub.Address(), req.at, after)
		if err != nil {
			s.abandon()
			return err
		}
		if gap != nil {
			s.edge.hub.CountGap()
			o.lost = append(o.lost, *gap)
		}
	}
	return nil
}
