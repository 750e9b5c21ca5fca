package publish

import (
	"cmp"
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// inboxAddress checks that the caller may use the inbox of an address.
func inboxAddress(ctx context.Context, bad *bus.Invalid, name string) (bus.Address, error) {
	a := inboxOf(bad, name)
	return a, mayUse(ctx, bad, a)
}

func inboxOf(bad *bus.Invalid, name string) bus.Address {
	a := bad.Address("address", name)
	if !a.IsZero() && !a.HasInbox() {
		bad.Add("address", "has no inbox; clients, users and sessions have one")
	}
	return a
}

// mayUse returns what is wrong with the request or, when nothing is, whether the caller may use the inbox.
func mayUse(ctx context.Context, bad *bus.Invalid, a bus.Address) error {
	if err := bad.Err(); err != nil {
		return err
	}
	return rpc.CallerFrom(ctx).CheckInbox(a)
}

// ListInbox returns a page of an inbox.
func (s *Server) ListInbox(ctx context.Context, req *publishv1.ListInboxRequest) (*publishv1.ListInboxResponse, error) {
	var bad bus.Invalid
	a := inboxOf(&bad, req.GetAddress())
	size, at := paging(&bad, req.GetPageSize(), req.GetPageToken(), "inbox "+a.String())
	err := mayUse(ctx, &bad, a)
	if err != nil {
		return nil, err
	}
	at.List = "inbox " + a.String()
	now := s.store.Now()
	resp := &publishv1.ListInboxResponse{}
	resp.Entries, resp.NextPageToken, err = gather(size, s.largest(a), at, func(at cursor, n int) (stretch[*publishv1.InboxEntry], error) {
		page, err := s.store.Pending(ctx, a, bus.PendingQuery{After: at.Offset, Epoch: at.Epoch, Limit: n})
		p := stretch[*publishv1.InboxEntry]{next: at, more: page.More}
		p.next.Epoch = page.Top.Epoch
		for _, w := range page.Messages {
			p.next.Offset = w.Position.Offset
			p.add(&publishv1.InboxEntry{
				Message: convert.MessageProto(w.Message), State: publishv1.DeliveryState(w.Delivery.State(now)),
				Deliveries:  uint32(w.Deliveries),
				AckDeadline: convert.Time(w.Delivery.Deadline), ExpireTime: convert.Time(w.Delivery.Expires),
			}, p.next)
		}
		p.next.Offset = page.Next
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// AckMessages acknowledges messages.
func (s *Server) AckMessages(ctx context.Context, req *publishv1.AckMessagesRequest) (*publishv1.AckMessagesResponse, error) {
	caller := rpc.CallerFrom(ctx)
	var bad bus.Invalid
	rpc.CheckAcks(&bad, req)
	device := bad.Name("client", req.GetClient())
	if caller.Trusted() {
		device = cmp.Or(device, "backend")
	} else {
		if device != "" && device != caller.Identity.Client {
			bad.Add("client", "is set by the server from the token; leave it out")
		}
		device = caller.Identity.Client
	}
	a, err := inboxAddress(ctx, &bad, req.GetAddress())
	if err != nil {
		return nil, err
	}
	acks := make([]bus.Ack, len(req.GetIds()))
	for i, id := range req.GetIds() {
		acks[i] = bus.Ack{To: a, ID: id, Device: device}
	}
	return rpc.AckAnswer(acks, s.store.Ack(ctx, acks)), nil
}

// GetInboxStats says how full an inbox is.
func (s *Server) GetInboxStats(ctx context.Context, req *publishv1.GetInboxStatsRequest) (*publishv1.GetInboxStatsResponse, error) {
	var bad bus.Invalid
	a, err := inboxAddress(ctx, &bad, req.GetAddress())
	if err != nil {
		return nil, err
	}
	stats, err := s.store.InboxStats(ctx, a)
	if err != nil {
		return nil, err
	}
	resp := &publishv1.GetInboxStatsResponse{
		Count: uint32(stats.Count), Limit: uint32(s.inbox.Limit), Keep: durationpb.New(s.inbox.Keep),
	}
	if !stats.Oldest.IsZero() {
		resp.OldestTime = convert.Time(stats.Oldest)
	}
	return resp, nil
}
