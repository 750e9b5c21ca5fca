package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
)

// writeTimeout is how long a client may take for one event that its machine has no room for.
const writeTimeout = 10 * time.Second

// eventsPath is where the events of hooks are.
const eventsPath = "/v1/events"

// watched is what a path such as /v1/channels/orders:eu/stream or /v1/users/42/receipts/a1/stream follows.
type watched struct {
	address string
	receipt string // the id of a message; empty for the address itself
	events  bool   // the events of hooks, which have no address
}

// streamed reads such a path.
func streamed(path string) (watched, bool) {
	if path == eventsPath {
		return watched{events: true}, true
	}
	address, ok := strings.CutSuffix(strings.TrimPrefix(path, "/v1/"), "/stream")
	if !ok {
		return watched{}, false
	}
	parts := strings.Split(address, "/")
	if n := len(parts); n > 3 && parts[n-2] == "receipts" {
		return watched{address: strings.Join(parts[:n-2], "/"), receipt: parts[n-1]}, isAddress(parts[:n-2])
	}
	return watched{address: address}, isAddress(parts)
}

func isAddress(parts []string) bool {
	switch parts[0] {
	case "broadcast":
		return len(parts) == 1 || len(parts) == 3 && parts[1] == "topics"
	case "channels", "users", "clients", "groups", "sessions":
		return len(parts) == 2 || len(parts) == 4 && parts[2] == "topics"
	}
	return false
}

// stream follows an address. The generated handler would send the same messages; this one also
// speaks text/event-stream, resumes by Last-Event-ID, and ends with the error in our own form.
func (g *gateway) stream(w http.ResponseWriter, r *http.Request, what watched) {
	id := r.Header.Get(requestid.Header)
	leave, err := g.cfg.Stream(r)
	if err != nil {
		rest.FromError(err).Write(w, id)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(outgoing(r))
	defer cancel(nil)
	defer context.AfterFunc(g.ctx, func() { cancel(errDraining) })()
	next, header, err := g.follow(ctx, r, what)
	var first event
	if err == nil {
		first, err = next()
	}
	if err != nil {
		rest.FromError(ended(ctx, err)).Write(w, id)
		return
	}
	told := toldBy(header)
	alive := tokenOf(told)
	out := newEventWriter(w, r.Header)
	out.proves(told)
	defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }() // the connection may be used again
	for write := first; err == nil; {
		if err = alive(); err != nil {
			break
		}
		if err = g.write(out, write); errors.Is(err, errGone) {
			return
		} else if err != nil {
			break
		}
		write, err = next()
	}
	if !errors.Is(err, io.EOF) && r.Context().Err() == nil {
		out.failure(rest.FromError(ended(ctx, err)), id)
	}
}

// event writes one event of a stream.
type event func(*eventWriter) error

// write writes one event, and something in its place when it cannot be encoded. A message becomes a gap with its position.
// A reader that comes back goes on behind it, and does not meet it for ever. For any other event the stream ends with INTERNAL.
func (g *gateway) write(out *eventWriter, one event) error {
	err := one(out)
	if err == nil || errors.Is(err, errGone) {
		return err
	}
	g.unencodable.complain(err)
	if lost, ok := errors.AsType[*lostMessage](err); ok {
		err = out.event(&publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Gap{Gap: lost.gap()}})
		if err == nil || errors.Is(err, errGone) {
			return err
		}
	}
	return errInternal
}

// tokenLeftHeader says for how many ms the token of a stream lives on when the stream begins.
const tokenLeftHeader = "x-token-left"

// toldBy returns what the service has told before the first message; nil for nothing.
func toldBy(header func() (metadata.MD, error)) metadata.MD {
	if header == nil {
		return nil
	}
	md, _ := header() // an error comes with the next message too
	return md
}

// tokenOf returns what says whether the token of a stream still lives. The service behind asks as well, but what it has sent in
// time may have waited here, when this process stood still. Streams of back ends have no token.
func tokenOf(told metadata.MD) func() error {
	left := told.Get(tokenLeftHeader)
	if len(left) == 0 {
		return func() error { return nil }
	}
	ms, err := strconv.ParseInt(left[0], 10, 64)
	ends := time.Now().Add(time.Duration(ms) * time.Millisecond)
	return func() error {
		if err != nil || !time.Now().Before(ends) {
			return errTokenEnded
		}
		return nil
	}
}

// follow opens the stream behind a path and returns what waits for its next event, and for its header.
func (g *gateway) follow(ctx context.Context, r *http.Request, what watched) (func() (event, error), func() (metadata.MD, error), error) {
	if what.events {
		next, err := g.followEvents(ctx, r)
		return next, nil, err
	}
	if what.receipt != "" {
		receipts, err := g.publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: what.address, Id: what.receipt})
		if err != nil {
			return nil, nil, err
		}
		return func() (event, error) {
			m, err := receipts.Recv()
			return func(e *eventWriter) error { return e.receipt(m) }, err
		}, receipts.Header, nil
	}
	req, err := consumeRequest(r, what.address)
	if err != nil {
		return nil, nil, err
	}
	events, err := g.publish.Consume(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return func() (event, error) {
		m, err := events.Recv()
		return func(e *eventWriter) error { return e.event(m) }, err
	}, events.Header, nil
}

var (
	errTokenEnded = rest.Refuse("TOKEN_EXPIRED", "", nil)
	errDraining   = rest.Refuse("SERVER_DRAINING", "", nil)
)

// ended prefers our own reason to end a stream over what gRPC makes of it.
func ended(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errDraining) {
		return errDraining
	}
	return err
}

func outgoing(r *http.Request) context.Context {
	md := metadata.MD{}
	for _, name := range []string{"Authorization", requestid.Header, "Traceparent", proofHeader} {
		if v := r.Header.Get(name); v != "" && printable(v) {
			md.Set(strings.ToLower(name), v)
		}
	}
	return metadata.NewOutgoingContext(r.Context(), md)
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

func consumeRequest(r *http.Request, address string) (*publishv1.ConsumeRequest, error) {
	req := &publishv1.ConsumeRequest{}
	if err := runtime.PopulateQueryParameters(req, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		return nil, rest.Wrong("query", "is not well formed")
	}
	req.Address = address
	last, err := lastEvent(r)
	if last != nil {
		req.After, req.FromBeginning = last, false
	}
	return req, err
}

// lastEvent returns the position of the last event that a browser has had; nil when it does not say so. A browser that
// reconnects repeats the URL; what it has had since is in the header.
func lastEvent(r *http.Request) (*publishv1.Position, error) {
	last := r.Header.Get("Last-Event-Id")
	if last == "" || last == "0" { // some begin to count there: nothing was had
		return nil, nil
	}
	i := strings.LastIndexByte(last, ':')
	if i < 0 {
		return nil, rest.Wrong("Last-Event-ID", "must be epoch:offset, as the id of an event")
	}
	offset, err := strconv.ParseUint(last[i+1:], 10, 64)
	if err != nil {
		return nil, rest.Wrong("Last-Event-ID", "must be epoch:offset, as the id of an event")
	}
	return &publishv1.Position{Epoch: last[:i], Offset: offset}, nil
}

// eventWriter writes NDJSON or server-sent events, each flushed at once.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	sse     bool
	buf     []byte
	// proof is in the ids of a stream with a ticket. A live one has no positions there, because it may not replay.
	proof string
	live  bool
}

func newEventWriter(w http.ResponseWriter, h http.Header) *eventWriter {
	e := &eventWriter{w: w, control: http.NewResponseController(w), sse: strings.Contains(h.Get("Accept"), "text/event-stream")}
	contentType := "application/x-ndjson"
	if e.sse {
		contentType = "text/event-stream"
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Accel-Buffering", "no") // proxies must not hold events back
	w.WriteHeader(http.StatusOK)
	return e
}

// sseHeartbeat is a comment, which EventSource does not show to its page.
const sseHeartbeat = ": heartbeat"

// line writes an event as a line of JSON.
func (e *eventWriter) line(m proto.Message) error {
	b, err := payload.Append(append(e.buf[:0], `{"result":`...), m)
	if err != nil {
		return err
	}
	return e.flush(append(b, '}', '\n'))
}

// event writes an event of an address. For a message that cannot be encoded the error is a lostMessage.
func (e *eventWriter) event(m *publishv1.ConsumeResponse) error {
	err := e.consumed(m)
	if lost := m.GetMessage(); lost != nil && err != nil && !errors.Is(err, errGone) {
		return &lostMessage{lost, err}
	}
	return err
}

func (e *eventWriter) consumed(m *publishv1.ConsumeResponse) error {
	if !e.sse {
		return e.line(m)
	}
	b := e.buf[:0]
	var err error
	switch v := m.GetEvent().(type) {
	case *publishv1.ConsumeResponse_Message:
		b, err = payload.Append(e.head(b, "message", v.Message.GetPosition()), v.Message)
	case *publishv1.ConsumeResponse_Gap:
		b, err = payload.Append(e.head(b, "gap", v.Gap.GetTo()), v.Gap)
	case *publishv1.ConsumeResponse_Subscribed:
		b, err = payload.Append(e.head(b, "subscribed", v.Subscribed.GetPosition()), v.Subscribed)
	case *publishv1.ConsumeResponse_Dismissed:
		b, err = payload.Append(e.head(b, "dismissed", nil), v.Dismissed)
	case *publishv1.ConsumeResponse_PresenceEvent:
		b, err = payload.Append(e.head(b, "presence", nil), v.PresenceEvent)
	default:
		b = append(b, sseHeartbeat...)
	}
	if err != nil {
		return err
	}
	return e.flush(append(b, '\n', '\n'))
}

func (e *eventWriter) receipt(m *publishv1.WatchReceiptsResponse) error {
	b, end := append(e.buf[:0], `{"result":`...), "}\n" //nolint:gocritic // the next line is written over this one
	var err error
	switch {
	case e.sse && m.GetHeartbeat() != nil:
		b, end = append(b[:0], sseHeartbeat...), "\n\n"
	case e.sse:
		b, end = e.head(e.buf[:0], "receipt", nil), "\n\n"
		b, err = payload.Append(b, m.GetReceipt())
	default:
		b, err = payload.Append(b, m)
	}
	if err != nil {
		return err
	}
	return e.flush(append(b, end...))
}

// head writes the id and the name of an event. The browser keeps the id when an event has none.
func (e *eventWriter) head(b []byte, event string, p *publishv1.Position) []byte {
	placed := p.GetEpoch() != "" && printable(p.GetEpoch()) && !e.live
	if placed || e.proof != "" && event == "subscribed" {
		b = append(b, "id: "...)
		if placed {
			b = strconv.AppendUint(append(append(b, p.GetEpoch()...), ':'), p.GetOffset(), 10)
		}
		if e.proof != "" {
			b = append(append(b, proofMark...), e.proof...)
		}
		b = append(b, '\n')
	}
	return append(append(append(b, "event: "...), event...), "\ndata: "...)
}

// failure ends the stream with the error as its last line or event.
func (e *eventWriter) failure(f *rest.Refusal, requestID string) {
	b := e.buf[:0]
	if e.sse {
		b = append(b, "event: error\ndata: "...)
	}
	b = append(append(b, f.Body(requestID)...), '\n')
	if e.sse {
		b = append(b, '\n')
	}
	_ = e.flush(b) // it ends either way
}

func (e *eventWriter) flush(b []byte) error {
	e.buf = b
	_ = e.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has a connection
	if _, err := e.w.Write(b); err != nil {                      //nolint:gosec // JSON or an event stream, with nosniff
		return errGone
	}
	if e.control.Flush() != nil {
		return errGone
	}
	return nil
}
