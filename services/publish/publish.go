package publish

import (
	"context"

	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Publish sends one message.
func (s *Server) Publish(ctx context.Context, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	caller := rpc.CallerFrom(ctx)
	want, err := s.describe(caller, req)
	if err != nil {
		return nil, err
	}
	in, err := s.door.Admit(ctx, caller, want.Publication, want.Wrong...)
	if err != nil {
		return nil, err
	}
	r, err := s.store.Publish(ctx, in)
	if err != nil {
		return nil, err
	}
	return response(r), nil
}

// authorize asks the authorizer, if there is one, about a client.
func (s *Server) authorize(ctx context.Context, caller *rpc.Caller, action bus.Action, a bus.Address) error {
	who := caller.Identity
	if who == nil {
		return nil
	}
	return bus.Authorize(ctx, s.cfg.Authorizer, bus.Question{Identity: who, Action: action, Address: a})
}

// mayRead returns nil when the caller may read what an address has kept. A client that the authorizer keeps from following the
// address may not read there what was sent to it either.
func (s *Server) mayRead(ctx context.Context, caller *rpc.Caller, a bus.Address) error {
	if err := caller.Check(bus.History, a); err != nil {
		return err
	}
	return s.authorize(ctx, caller, bus.Subscribe, a)
}

func response(r bus.Receipt) *publishv1.PublishResponse {
	return &publishv1.PublishResponse{
		Id:          r.ID,
		Position:    convert.PositionProto(r.Position),
		Duplicate:   r.Duplicate,
		Durability:  publishv1.Durability(r.Durability),
		Replicas:    uint32(r.Replicas),
		PublishTime: convert.Time(r.Published),
	}
}

// maxBatch is how many messages one batch may have.
const maxBatch = 1000

// BatchPublish sends several messages and answers each on its own.
func (s *Server) BatchPublish(ctx context.Context, req *publishv1.BatchPublishRequest) (*publishv1.BatchPublishResponse, error) {
	if n := len(req.GetRequests()); n == 0 || n > maxBatch {
		var bad bus.Invalid
		bad.Add("requests", "has %d entries, allowed are 1 to %d", n, maxBatch)
		return nil, bad.Err()
	}
	resp := &publishv1.BatchPublishResponse{Results: s.publishAll(ctx, rpc.CallerFrom(ctx), req.GetRequests())}
	left := pageBytes / 2 // for what is said of refusals; the other half is for what every result needs
	for _, r := range resp.GetResults() {
		e := r.GetError()
		if e == nil {
			continue
		}
		resp.Refused++
		if left -= proto.Size(e); left < 0 {
			rpc.Shorten(e)
		}
	}
	return resp, nil
}

// publishAll sends what the door lets in, in one step, and returns a result for each request.
func (s *Server) publishAll(ctx context.Context, caller *rpc.Caller, reqs []*publishv1.PublishRequest) []*publishv1.PublishResult {
	results := make([]*publishv1.PublishResult, len(reqs))
	wanted := make([]bus.Request, 0, len(reqs))
	places := make([]int, 0, len(reqs)) // of what is wanted, and then of what was let in
	for i, req := range reqs {
		want, err := s.describe(caller, req)
		if err != nil {
			results[i] = refused(err)
			continue
		}
		wanted = append(wanted, want)
		places = append(places, i)
	}
	in, errs := s.door.AdmitAll(ctx, caller, wanted)
	good := 0
	for j, i := range places {
		if errs[j] != nil {
			results[i] = refused(errs[j])
			continue
		}
		in[good], places[good] = in[j], i
		good++
	}
	if good == 0 {
		return results
	}
	receipts, errs := s.store.PublishAll(ctx, in[:good])
	for j, i := range places[:good] {
		if errs[j] != nil {
			results[i] = refused(errs[j])
			continue
		}
		results[i] = &publishv1.PublishResult{Outcome: &publishv1.PublishResult_Ok{Ok: response(receipts[j])}}
	}
	return results
}

func refused(err error) *publishv1.PublishResult {
	return &publishv1.PublishResult{Outcome: &publishv1.PublishResult_Error{Error: rpc.ErrorProto(err)}}
}
