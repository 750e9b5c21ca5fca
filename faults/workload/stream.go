package workload

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// stream publishes over one stream of gRPC, and opens another when it breaks.
type stream struct {
	l      *Load
	client publishv1.PublishServiceClient

	mu   sync.Mutex
	open grpc.BidiStreamingClient[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse]
	end  context.CancelFunc
	next uint64
}

func newStream(l *Load, client publishv1.PublishServiceClient) *stream {
	return &stream{l: l, client: client}
}

func (s *stream) publish(ctx context.Context, m message) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		life, end := context.WithCancel(context.WithoutCancel(ctx))
		open, err := s.client.PublishStream(s.l.as(life))
		if err != nil {
			end()
			return answer{}, err
		}
		s.open, s.end = open, end
	}
	over := context.AfterFunc(ctx, s.end)
	a, err := s.call(m)
	if !over() && err == nil {
		err = ctx.Err()
	}
	var final *refusal
	if err != nil && !errors.As(err, &final) {
		s.end()
		s.open = nil
	}
	return a, err
}

func (s *stream) call(m message) (answer, error) {
	s.next++
	if err := s.open.Send(&publishv1.PublishStreamRequest{Sequence: s.next, Publish: s.l.request(m)}); err != nil {
		return answer{}, err
	}
	for {
		resp, err := s.open.Recv()
		if err != nil {
			return answer{}, err
		}
		for _, r := range resp.GetResults() {
			if r.GetSequence() != s.next {
				continue
			}
			if ok := r.GetResult().GetOk(); ok != nil {
				return answered(ok), nil
			}
			e := r.GetResult().GetError()
			if c := codes.Code(e.GetCode()); e.GetRetryDelay() != nil || c == codes.Unavailable || c == codes.DeadlineExceeded || c == codes.Aborted {
				return answer{}, errors.New(e.GetReason())
			}
			return answer{}, &refusal{e.GetReason()}
		}
	}
}

// Close ends the stream.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		s.end()
	}
	return nil
}
