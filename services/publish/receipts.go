package publish

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// receiptAddress checks that the caller may see what became of messages to an address: a caller that may publish to it.
func receiptAddress(ctx context.Context, address, id string) (bus.Address, error) {
	var bad bus.Invalid
	a := bad.Address("address", address)
	if !a.IsZero() && !a.HasInbox() {
		bad.Add("address", "has no receipts; messages to clients, users and sessions have")
	}
	if !rpc.IsMessageID(id) {
		bad.Add("id", "is no message id")
	}
	if err := bad.Err(); err != nil {
		return a, err
	}
	return a, rpc.CallerFrom(ctx).Check(bus.Publish, a)
}

// GetReceipt says what became of a message.
func (s *Server) GetReceipt(ctx context.Context, req *publishv1.GetReceiptRequest) (*publishv1.GetReceiptResponse, error) {
	a, err := receiptAddress(ctx, req.GetAddress(), req.GetId())
	if err != nil {
		return nil, err
	}
	d, err := s.store.Delivery(ctx, a, req.GetId(), false)
	if err != nil {
		return nil, err
	}
	return &publishv1.GetReceiptResponse{Receipt: receiptProto(&d, s.store.Now())}, nil
}

func receiptProto(d *bus.Delivery, now time.Time) *publishv1.Receipt {
	r := &publishv1.Receipt{
		Address: d.To.String(), Id: d.ID, State: publishv1.DeliveryState(d.State(now)), Scope: publishv1.AckScope(d.Scope),
		PublishTime: convert.Time(d.Published), AckDeadline: convert.Time(d.Deadline), ExpireTime: convert.Time(d.Expires), EndTime: convert.Time(d.Ended),
		Reason: string(d.Reason), Deliveries: uint32(d.Deliveries), SentCount: uint32(d.SentCount), AckedCount: uint32(d.AckedCount), DeniedCount: uint32(d.DeniedCount),
	}
	if r.GetState() == publishv1.DeliveryState_DELIVERY_STATE_EXPIRED && r.GetReason() == "" {
		r.Reason = string(bus.EndTTL)
	}
	if r.GetState() == publishv1.DeliveryState_DELIVERY_STATE_DENIED {
		r.Reason = d.DeniedWhy
	}
	for _, v := range d.Devices {
		r.Recipients = append(r.Recipients, &publishv1.RecipientReceipt{
			Client: v.Client, State: publishv1.DeliveryState(d.DeviceState(v, now)), SentTime: convert.Time(v.Sent), AckTime: convert.Time(v.Acked),
			DenyTime: convert.Time(v.Denied), DenyReason: v.Why,
		})
	}
	return r
}

// receiptCheck is how often a watched receipt is read although nobody said that it changed: a hint may be lost.
const receiptCheck = 2 * time.Second

// WatchReceipts sends the receipt of a message whenever it changes.
func (s *Server) WatchReceipts(req *publishv1.WatchReceiptsRequest, stream grpc.ServerStreamingServer[publishv1.WatchReceiptsResponse]) error {
	ctx := stream.Context()
	a, err := receiptAddress(ctx, req.GetAddress(), req.GetId())
	if err != nil {
		return err
	}
	r := s.newReader(ctx, rpc.CallerFrom(ctx), output{})
	f := &follower{address: a, wake: r.wake, limit: s.cfg.StreamQueue, receipt: req.GetId()}
	s.streams.attach(f)
	defer s.streams.detach(f)
	if _, err := s.acquire(ctx, a); err != nil {
		return err
	}
	defer s.tail.Release(a)
	var last *publishv1.Receipt
	for {
		f.take()
		d, err := s.store.Delivery(ctx, a, req.GetId(), true)
		if err != nil {
			return err
		}
		now := s.store.Now()
		if next := receiptProto(&d, now); !proto.Equal(next, last) {
			last = next
			if err := stream.Send(&publishv1.WatchReceiptsResponse{Receipt: next}); err != nil {
				return err
			}
		}
		if d.State(now).Final() {
			return nil
		}
		timer := time.NewTimer(untilChange(&d, now))
		select {
		case <-r.wake:
		case <-timer.C:
		case <-s.streams.draining:
			err = bus.ErrDraining
		case <-ctx.Done():
			err = ctx.Err()
		}
		timer.Stop()
		if err != nil {
			return err
		}
	}
}

// untilChange says how long a receipt stays the same unless somebody changes it.
func untilChange(d *bus.Delivery, now time.Time) time.Duration {
	wait := receiptCheck
	for _, at := range []time.Time{d.Deadline, d.Expires} {
		if at.After(now) {
			wait = min(wait, at.Sub(now)+time.Millisecond)
		}
	}
	return wait
}
