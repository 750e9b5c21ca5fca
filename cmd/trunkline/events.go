package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc"
)

type eventFlags struct {
	kinds []string
	from  string
	count int
}

func (p *program) events() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print who connects and disconnects, what is occupied and vacated, what was stored and has expired",
		Long: `Print events of hooks as they happen: connected, disconnected, occupied, vacated, stored and expired. The stream
comes back by itself and resumes where it stood. It needs an API key with the scope events, and a server with
hooks.events.enabled.`,
		Example: "  trunkline events\n  trunkline events --kind connected --kind disconnected --from beginning\n  trunkline events --from 6f1c:41 -o jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.watchEvents(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.kinds, "kind", nil, "a kind to print, again for more: "+strings.Join(eventKinds(), ", ")+" (all)")
	fl.StringVar(&f.from, "from", "now", "now, beginning, or EPOCH:OFFSET to print what came after that first")
	fl.IntVar(&f.count, "count", 0, "end after this many events")
	return cmd
}

const kindPrefix = "EVENT_KIND_"

// eventKinds are the words for the kinds of event.
func eventKinds() []string {
	var all []string
	for n := range int32(len(hooksv1.EventKind_name)) {
		if n > 0 {
			all = append(all, kindName(hooksv1.EventKind(n)))
		}
	}
	return all
}

func kindName(k hooksv1.EventKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), kindPrefix))
}

// request reads the flags.
func (f eventFlags) request() (*hooksv1.WatchEventsRequest, error) {
	req := &hooksv1.WatchEventsRequest{}
	for _, k := range f.kinds {
		if !slices.Contains(eventKinds(), strings.ToLower(k)) {
			return nil, fmt.Errorf("--kind %q: allowed are %s", k, strings.Join(eventKinds(), ", "))
		}
		req.Kinds = append(req.Kinds, hooksv1.EventKind(hooksv1.EventKind_value[kindPrefix+strings.ToUpper(k)]))
	}
	if f.count < 0 {
		return nil, fmt.Errorf("--count %d is negative", f.count)
	}
	var err error
	switch f.from {
	case "", "now":
	case "beginning":
		req.FromBeginning = true
	default:
		if req.After, err = parsePosition(f.from); err != nil {
			err = fmt.Errorf("--from: %w", err)
		}
	}
	return req, err
}

// watchEvents prints events until there are enough, or for ever.
func (p *program) watchEvents(ctx context.Context, f eventFlags) error {
	req, err := f.request()
	if err != nil {
		return usageError{err}
	}
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	w := eventPrinter{p: p, left: f.count, service: hooksv1.NewEventServiceClient(conn)}
	for {
		err := w.print(ctx, req)
		refusal := rpc.FromError(err)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return errInterrupted
		case !w.open || refusal == nil || rpc.Code(refusal.Reason) != codes.Unavailable:
			return p.remote(err)
		}
		p.say("! %v", p.remote(err))
		timer := time.NewTimer(max(refusal.RetryAfter, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errInterrupted
		}
		if w.at != nil {
			req.After, req.FromBeginning = w.at, false
		}
	}
}

// eventPrinter prints one stream after the other.
type eventPrinter struct {
	p       *program
	service hooksv1.EventServiceClient
	at      *publishv1.Position // of what was printed last
	left    int                 // 0 for any number
	open    bool                // there was a stream
}

func (w *eventPrinter) print(ctx context.Context, req *hooksv1.WatchEventsRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.service.WatchEvents(ctx, req)
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.show(r); err != nil {
			return err
		}
	}
}

func (w *eventPrinter) show(r *hooksv1.WatchEventsResponse) error {
	switch item := r.GetItem().(type) {
	case *hooksv1.WatchEventsResponse_Watched:
		w.open = true
		w.move(item.Watched.GetPosition())
		w.p.say("→ %s  watching events", w.p.dialled)
	case *hooksv1.WatchEventsResponse_Heartbeat:
		w.move(item.Heartbeat.GetPosition())
	case *hooksv1.WatchEventsResponse_Gap:
		w.move(item.Gap.GetTo())
		if n := item.Gap.GetMissing(); n > 0 {
			w.p.say("! gap: nothing was told of %d connections of %s (%s)", n, item.Gap.GetNode(), item.Gap.GetReason())
		} else {
			w.p.say("! gap: events after #%d are missing (%s)", item.Gap.GetAfter().GetOffset(), item.Gap.GetReason())
		}
	case *hooksv1.WatchEventsResponse_Event:
		w.move(item.Event.GetPosition())
		if err := w.event(item.Event); err != nil {
			return err
		}
		if w.left--; w.left == 0 {
			return errEnough
		}
	}
	return nil
}

func (w *eventPrinter) move(at *publishv1.Position) {
	if at != nil {
		w.at = at
	}
}

func (w *eventPrinter) event(e *hooksv1.Event) error {
	if w.p.output != "table" {
		return w.p.writeJSON(e)
	}
	var about []string
	for _, part := range []struct{ name, value string }{
		{"", e.GetAddress()},
		{"", e.GetMessageId()},
		{"client", e.GetClient()},
		{"user", e.GetUser()},
		{"session", e.GetSession()},
		{"connection", e.GetConnection()},
		{"node", e.GetNode()},
		{"reason", e.GetReason()},
	} {
		if part.value != "" {
			about = append(about, strings.TrimPrefix(part.name+"="+part.value, "="))
		}
	}
	_, err := fmt.Fprintf(w.p.out, "%s  %-12s  #%d  %s\n", e.GetTime().AsTime().Local().Format("15:04:05.000"), kindName(e.GetKind()),
		e.GetPosition().GetOffset(), strings.Join(about, " "))
	return err
}
