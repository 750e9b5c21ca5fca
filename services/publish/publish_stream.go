package publish

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// streamBatch is how many messages of a stream go to the store in one step.
const streamBatch = 256

// streamCall bounds one step of a stream.
const streamCall = 10 * time.Second

// PublishStream sends messages as they come. While one batch is on its way to the store the next one collects. So batches grow
// with the load, and a single message is not delayed.
func (s *Server) PublishStream(stream grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse]) error {
	if err := stream.Send(&publishv1.PublishStreamResponse{Credits: uint32(s.cfg.Credits)}); err != nil {
		return err
	}
	queue := make(chan received, s.cfg.Credits)
	// The reader ends when this handler has returned: only then is a waiting Recv given up.
	if !s.streams.spawn(func() { s.readStream(stream, queue) }) {
		return bus.ErrDraining
	}
	return s.answerStream(stream.Context(), stream, rpc.CallerFrom(stream.Context()), queue)
}

// received is one message of a stream, or how the stream ended.
type received struct {
	req *publishv1.PublishStreamRequest
	err error
}

func (s *Server) readStream(stream grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse], queue chan<- received) {
	for {
		req, err := stream.Recv()
		select {
		case queue <- received{req, err}: // a client beyond its credits waits here, and HTTP/2 holds it back
		case <-stream.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *Server) answerStream(ctx context.Context, stream grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse], caller *rpc.Caller, queue <-chan received) error {
	for {
		var next received
		select {
		case next = <-queue:
		case <-s.streams.draining:
			return bus.ErrDraining
		case <-ctx.Done():
			return ctx.Err()
		}
		var batch []*publishv1.PublishStreamRequest
		for next.err == nil {
			batch = append(batch, next.req)
			if len(batch) == streamBatch || len(queue) == 0 {
				break
			}
			next = <-queue
		}
		if len(batch) > 0 {
			if err := rpc.Alive(ctx); err != nil {
				return err
			}
			if err := s.answerBatch(ctx, stream, caller, batch); err != nil {
				return err
			}
		}
		if errors.Is(next.err, io.EOF) {
			return nil // everything that was sent is answered
		}
		if next.err != nil {
			return next.err
		}
	}
}

func (s *Server) answerBatch(ctx context.Context, stream grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse], caller *rpc.Caller, batch []*publishv1.PublishStreamRequest) error {
	reqs := make([]*publishv1.PublishRequest, len(batch))
	for i, b := range batch {
		reqs[i] = b.GetPublish()
	}
	call, cancel := context.WithTimeout(ctx, streamCall)
	results := s.publishAll(call, caller, reqs)
	cancel()
	resp := &publishv1.PublishStreamResponse{
		Results: make([]*publishv1.PublishStreamResult, len(batch)),
		Credits: uint32(len(batch)),
	}
	for i, r := range results {
		resp.Results[i] = &publishv1.PublishStreamResult{Sequence: batch[i].GetSequence(), Result: r}
	}
	return stream.Send(resp)
}
