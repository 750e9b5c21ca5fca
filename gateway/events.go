package gateway

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/internal/rest"
)

// followEvents opens the stream of events.
func (g *gateway) followEvents(ctx context.Context, r *http.Request) (func() (event, error), error) {
	req := &hooksv1.WatchEventsRequest{}
	if err := runtime.PopulateQueryParameters(req, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		return nil, rest.Wrong("query", "is not well formed; a kind is such as EVENT_KIND_CONNECTED")
	}
	last, err := lastEvent(r)
	if err != nil {
		return nil, err
	}
	if last != nil {
		req.After, req.FromBeginning = last, false
	}
	stream, err := g.events.WatchEvents(ctx, req)
	if err != nil {
		return nil, err
	}
	return func() (event, error) {
		m, err := stream.Recv()
		return func(e *eventWriter) error { return e.hook(m) }, err
	}, nil
}

// hook writes one event of hooks.
func (e *eventWriter) hook(m *hooksv1.WatchEventsResponse) error {
	if !e.sse {
		return e.line(m)
	}
	b := e.buf[:0]
	var err error
	switch v := m.GetItem().(type) {
	case *hooksv1.WatchEventsResponse_Watched:
		b, err = payload.Append(e.head(b, "watched", v.Watched.GetPosition()), v.Watched)
	case *hooksv1.WatchEventsResponse_Event:
		b, err = payload.Append(e.head(b, "event", v.Event.GetPosition()), v.Event)
	case *hooksv1.WatchEventsResponse_Gap:
		b, err = payload.Append(e.head(b, "gap", v.Gap.GetTo()), v.Gap)
	default:
		b, err = payload.Append(e.head(b, "heartbeat", m.GetHeartbeat().GetPosition()), m.GetHeartbeat())
	}
	if err != nil {
		return err
	}
	return e.flush(append(b, '\n', '\n'))
}
