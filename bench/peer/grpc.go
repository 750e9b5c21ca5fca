package peer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// backend is a publisher over gRPC: Trunkline's own service, and the thin one around the centrifuge library.
type backend struct {
	key    string
	client publishv1.PublishServiceClient
	last   *publishv1.Position
}

// connections to a gRPC server are shared by the publishers, this many.
const connections = 4

func dialAll(addr string) ([]*grpc.ClientConn, error) {
	var list []*grpc.ClientConn
	for range connections {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		list = append(list, conn)
	}
	return list, nil
}

func (b *backend) with(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+b.key)
}

func request(m Message) *publishv1.PublishRequest {
	r := &publishv1.PublishRequest{To: m.To, Data: m.Data}
	if m.Ack {
		r.Ack = &publishv1.AckPolicy{}
	}
	return r
}

func (b *backend) Publish(ctx context.Context, m Message) error {
	resp, err := b.client.Publish(b.with(ctx), request(m))
	b.last = resp.GetPosition()
	return err
}

func (b *backend) Last() Position { return Position{b.last.GetEpoch(), b.last.GetOffset()} }

func (b *backend) Batch(ctx context.Context, all []Message) error {
	req := &publishv1.BatchPublishRequest{Requests: make([]*publishv1.PublishRequest, len(all))}
	for i, m := range all {
		req.Requests[i] = request(m)
	}
	resp, err := b.client.BatchPublish(b.with(ctx), req)
	if err != nil {
		return err
	}
	for _, r := range resp.GetResults() {
		if e := r.GetError(); e != nil {
			return errors.New(e.GetMessage())
		}
	}
	return nil
}

func (b *backend) Stream(ctx context.Context) (Pipe, error) {
	st, err := b.client.PublishStream(b.with(ctx))
	if err != nil {
		return nil, err
	}
	p := &pipe{st: st, credits: make(chan struct{}, 1<<16), done: make(chan error, 1), ended: make(chan struct{})}
	go p.receive()
	return p, nil
}

type pipe struct {
	st      grpc.BidiStreamingClient[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse]
	seq     uint64
	credits chan struct{}
	ended   chan struct{}
	done    chan error
}

func (p *pipe) receive() {
	defer close(p.ended)
	for {
		resp, err := p.st.Recv()
		if errors.Is(err, io.EOF) {
			p.done <- nil
			return
		}
		if err != nil {
			p.done <- err
			return
		}
		for _, r := range resp.GetResults() {
			if e := r.GetResult().GetError(); e != nil {
				p.done <- errors.New(e.GetMessage())
				return
			}
		}
		for range resp.GetCredits() {
			p.credits <- struct{}{}
		}
	}
}

func (p *pipe) Send(m Message) error {
	select {
	case <-p.credits:
	case <-p.ended:
		return fmt.Errorf("the stream ended: %w", <-p.done)
	}
	err := p.st.Send(&publishv1.PublishStreamRequest{Sequence: p.seq, Publish: request(m)})
	p.seq++
	return err
}

func (p *pipe) Close() error {
	if err := p.st.CloseSend(); err != nil {
		return err
	}
	return <-p.done
}
