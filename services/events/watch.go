package events

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// kinds are the words of the wire for those of the log; a gap has its own message.
var kinds = map[bus.EventKind]hooksv1.EventKind{
	bus.EventConnected:    hooksv1.EventKind_EVENT_KIND_CONNECTED,
	bus.EventDisconnected: hooksv1.EventKind_EVENT_KIND_DISCONNECTED,
	bus.EventOccupied:     hooksv1.EventKind_EVENT_KIND_OCCUPIED,
	bus.EventVacated:      hooksv1.EventKind_EVENT_KIND_VACATED,
	bus.EventStored:       hooksv1.EventKind_EVENT_KIND_STORED,
	bus.EventExpired:      hooksv1.EventKind_EVENT_KIND_EXPIRED,
}

// disabled is the refusal of everything while no events are kept.
var disabled = bus.ErrEventsDisabled.With("", map[string]string{"setting": "hooks.events.enabled"})

// watcher is one stream.
type watcher struct {
	server *Server
	stream grpc.ServerStreamingServer[hooksv1.WatchEventsResponse]
	kinds  []hooksv1.EventKind
	at     bus.Position // how far it has come; zero for before the oldest event
}

// WatchEvents sends the log from a position on.
func (s *Server) WatchEvents(req *hooksv1.WatchEventsRequest, stream grpc.ServerStreamingServer[hooksv1.WatchEventsResponse]) error {
	if !s.enabled() {
		return disabled
	}
	if err := checkWatch(req); err != nil {
		return err
	}
	ctx := stream.Context()
	w := &watcher{server: s, stream: stream, kinds: req.GetKinds()}
	wake, leave := s.readers.join()
	defer leave()
	switch {
	case req.GetAfter() != nil:
		w.at = convert.Position(req.GetAfter())
	case !req.GetFromBeginning():
		var err error
		if w.at, err = s.top(ctx); err != nil {
			return err
		}
	}
	err := w.send(&hooksv1.WatchEventsResponse{Item: &hooksv1.WatchEventsResponse_Watched{
		Watched: &hooksv1.EventsWatched{Position: convert.PositionProto(w.at)},
	}})
	if err != nil {
		return err
	}
	return w.serve(ctx, wake)
}

func checkWatch(req *hooksv1.WatchEventsRequest) error {
	var bad bus.Invalid
	if req.GetAfter() != nil && req.GetFromBeginning() {
		bad.Add("from_beginning", "not together with after")
	}
	if req.GetAfter() != nil && req.GetAfter().GetEpoch() == "" {
		bad.Add("after.epoch", "is empty; give the position back as it came")
	}
	for _, k := range req.GetKinds() {
		if _, ok := hooksv1.EventKind_name[int32(k)]; !ok || k == hooksv1.EventKind_EVENT_KIND_UNSPECIFIED {
			bad.Add("kinds", "%d is no kind of event", k)
		}
	}
	return bad.Err()
}

func (w *watcher) serve(ctx context.Context, wake <-chan struct{}) error {
	for {
		err := w.readOn(ctx)
		if err != nil {
			return err
		}
		// The position goes on past events that were not asked for.
		rpc.SetHeartbeat(ctx, &hooksv1.WatchEventsResponse{Item: &hooksv1.WatchEventsResponse_Heartbeat{
			Heartbeat: &hooksv1.EventsHeartbeat{Position: convert.PositionProto(w.at)},
		}})
		select {
		case <-wake:
		case <-w.server.draining:
			err = bus.ErrDraining
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// readOn sends what the log has after where the stream is.
func (w *watcher) readOn(ctx context.Context) error {
	next, err := w.server.tail.Replay(ctx, bus.EventLog, w.at, func(g bus.Gap) {
		_ = w.send(gapResponse(&hooksv1.EventGap{After: convert.PositionProto(g.From), To: convert.PositionProto(g.To), Reason: string(g.Reason)}))
		// the stream's error shows with the next event
	}, func(m *bus.Message) error {
		r := responseOf(m)
		if e := r.GetEvent(); r == nil || e != nil && len(w.kinds) > 0 && !slices.Contains(w.kinds, e.GetKind()) {
			return nil
		}
		return w.send(r)
	})
	if err != nil {
		return err
	}
	w.at = next
	return nil
}

func (w *watcher) send(r *hooksv1.WatchEventsResponse) error { return w.stream.Send(r) }

// responseOf returns what a message of the log is on the stream; nil for one that cannot be read.
func responseOf(m *bus.Message) *hooksv1.WatchEventsResponse {
	e, err := bus.EventOf(m)
	if err != nil {
		return nil
	}
	if e.Kind == bus.EventGap {
		return gapResponse(&hooksv1.EventGap{To: convert.PositionProto(m.Position), Reason: e.Reason, Node: e.Node, Missing: e.Missing})
	}
	kind, ok := kinds[e.Kind]
	if !ok {
		return nil // of a later version
	}
	return &hooksv1.WatchEventsResponse{Item: &hooksv1.WatchEventsResponse_Event{Event: &hooksv1.Event{
		Id: e.ID, Kind: kind, Time: convert.Time(e.Time()), Position: convert.PositionProto(m.Position),
		Connection: e.Connection, Client: e.Client, User: e.User, Session: e.Session, Node: e.Node,
		Address: e.Address, MessageId: e.Message, Reason: e.Reason,
	}}}
}

func gapResponse(g *hooksv1.EventGap) *hooksv1.WatchEventsResponse {
	return &hooksv1.WatchEventsResponse{Item: &hooksv1.WatchEventsResponse_Gap{Gap: g}}
}
