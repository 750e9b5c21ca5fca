package door

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// as adds a credential to calls.
func as(ctx context.Context, credential string) context.Context {
	if credential == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
}

// PublishGRPC publishes over gRPC.
func (s *Server) PublishGRPC(ctx context.Context, credential string, p Publication) (Answer, error) {
	req := &publishv1.PublishRequest{
		To: p.To, Data: []byte(p.Data), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT, IdempotencyKey: p.Key,
	}
	if p.AckWithin > 0 {
		req.Ack = &publishv1.AckPolicy{Timeout: durationpb.New(p.AckWithin)}
	}
	resp, err := publishv1.NewPublishServiceClient(s.GRPC).Publish(as(ctx, credential), req, grpc.WaitForReady(false))
	if err != nil {
		return Answer{}, ofStatus(err)
	}
	return Answer{ID: resp.GetId(), Position: at(resp.GetPosition()), Duplicate: resp.GetDuplicate(), At: resp.GetPublishTime().AsTime()}, nil
}

func at(p *publishv1.Position) judge.Position {
	return judge.Position{Epoch: p.GetEpoch(), Seq: p.GetOffset()}
}

// FollowGRPC follows an address over gRPC until ctx ends or the server ends it.
func (s *Server) FollowGRPC(ctx context.Context, credential string, p Place, on func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &publishv1.ConsumeRequest{Address: p.Address}
	if p.After != nil && p.After.Position.Epoch != "" {
		req.After = &publishv1.Position{Epoch: p.After.Position.Epoch, Offset: p.After.Position.Seq}
	}
	stream, err := publishv1.NewPublishServiceClient(s.GRPC).Consume(as(ctx, credential), req)
	if err != nil {
		return ofStatus(err)
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return ofStatus(err)
		}
		switch {
		case r.GetSubscribed() != nil:
			b := r.GetSubscribed()
			on(Event{Subscribed: &Subscribed{Address: b.GetAddress(), Position: at(b.GetPosition()), Recovered: b.GetRecovered()}})
		case r.GetMessage() != nil:
			m := r.GetMessage()
			on(Event{Message: &Message{
				ID: m.GetId(), To: m.GetTo(), Data: string(m.GetData()), Position: at(m.GetPosition()), Redelivered: m.GetRedelivered(),
				ToAck: m.GetAckRequired(),
			}})
		case r.GetGap() != nil:
			g := r.GetGap()
			on(Event{Gap: &Gap{Address: g.GetAddress(), After: at(g.GetAfter()), To: at(g.GetTo()), Reason: g.GetReason()}})
		}
	}
}

// FollowSSE follows an address by server-sent events until ctx ends or the server ends it.
func (s *Server) FollowSSE(ctx context.Context, credential string, p Place, on func(Event)) error {
	req, err := s.request(ctx, credential, http.MethodGet, "/v1/"+p.Address+"/stream", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if p.After != nil && p.After.Position.Epoch != "" {
		req.Header.Set("Last-Event-ID", p.After.Position.String())
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.base.Host, unwrapped(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return ofREST(resp.StatusCode, resp.Header, content)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "data":
			e, err := eventOf(kind, []byte(value))
			if err != nil {
				return err
			}
			on(e)
		case "":
			kind = ""
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// eventOf reads one server-sent event; an error that it tells is returned.
func eventOf(kind string, data []byte) (e Event, err error) {
	switch kind {
	case "subscribed":
		var s subscribed
		err = json.Unmarshal(data, &s)
		b := s.event()
		e.Subscribed = &b
	case "message":
		var m received
		err = json.Unmarshal(data, &m)
		e.Message = m.message()
	case "gap":
		var t told
		err = json.Unmarshal(data, &t)
		e.Gap = t.gap()
	case "error":
		return e, ofREST(http.StatusServiceUnavailable, http.Header{}, data)
	}
	if err != nil {
		err = fmt.Errorf("read an event: %w", err)
	}
	return e, err
}
