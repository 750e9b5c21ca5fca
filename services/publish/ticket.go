package publish

import (
	"context"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/ticket"
)

// CreateStreamTicket makes a ticket that opens the stream of one address in a URL.
func (s *Server) CreateStreamTicket(ctx context.Context, req *publishv1.CreateStreamTicketRequest) (*publishv1.CreateStreamTicketResponse, error) {
	caller, token := rpc.CallerFrom(ctx), rpc.TokenFrom(ctx)
	if caller.Identity == nil || token == "" {
		return nil, bus.ErrPermissionDenied.With(
			"a ticket stands for a token and ends with it; issue a token for the user, and let its page ask with that", nil)
	}
	a, err := bus.ParseAddress(req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := caller.Check(bus.Subscribe, a); err != nil {
		return nil, err
	}
	if err := s.authorize(ctx, caller, bus.Subscribe, a); err != nil {
		return nil, err
	}
	if err := s.cfg.Charging.Take(caller.Author(bus.Sender{}), bus.Charge{Tokens: 1}); err != nil {
		return nil, err
	}
	text, ends, err := s.tickets.Mint(ctx, ticket.Pass{Token: token, Address: a, Expires: caller.Identity.Expires})
	if err != nil {
		return nil, err
	}
	return &publishv1.CreateStreamTicketResponse{Ticket: text, ExpireTime: convert.Time(ends)}, nil
}
