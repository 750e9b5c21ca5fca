package edge

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// authorize asks the authorizer, if there is one, about what the token allows. A client's own addresses are its own.
func (s *session) authorize(ctx context.Context, who *bus.Identity, action bus.Action, a bus.Address) error {
	if action == bus.Subscribe && who.Owns(a) {
		return nil
	}
	return bus.Authorize(ctx, s.owner.cfg.Authorizer, bus.Question{Identity: who, Action: action, Address: a})
}

// questions is how many subscriptions of one connect are asked about at once.
const questions = 16

// askAll asks about the subscriptions of a connect. What is refused gets its result, and its subscription is left out of the list.
func (s *session) askAll(
	ctx context.Context, who *bus.Identity, requests []*request, results []*edgev1.SubscriptionResult, subs []*subscription,
) []*subscription {
	if s.owner.cfg.Authorizer == nil {
		return subs
	}
	errs := make([]error, len(requests))
	var g errgroup.Group
	g.SetLimit(questions)
	for i, req := range requests {
		if req != nil {
			g.Go(func() error {
				errs[i] = s.authorize(ctx, who, bus.Subscribe, req.sub.address)
				return nil
			})
		}
	}
	_ = g.Wait() // each request has its own error
	for i, err := range errs {
		if err == nil {
			continue
		}
		results[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Error{Error: rpc.ErrorProto(err)}}
		refused := requests[i].sub
		subs = slices.DeleteFunc(subs, func(sub *subscription) bool { return sub == refused })
		requests[i] = nil
	}
	return subs
}
