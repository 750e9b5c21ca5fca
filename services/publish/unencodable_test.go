package publish_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/services/publish"
)

// spoiled is a store whose second message of a log has an attribute that is no text.
type spoiled struct{ *memory.Store }

func (s spoiled) Since(ctx context.Context, to bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	page, err := s.Store.Since(ctx, to, r, after, limit)
	for i, m := range page.Messages {
		if m.Position.Offset == 2 {
			bad := *m
			bad.Attributes = map[string]string{"name": "\xff"}
			page.Messages[i] = &bad
		}
	}
	return page, err
}

// A message that gRPC cannot encode is told as a gap, on both streams. A reader that would be sent away would come back to it for ever.
func TestConsume_tellsWhatCannotBeEncoded(t *testing.T) {
	var log bytes.Buffer
	h := startOn(t, publish.Config{Log: slog.New(slog.NewJSONHandler(&log, nil))}, func(s *memory.Store) publish.Store { return spoiled{s} })
	for _, data := range []string{"1", "2", "3"} {
		h.pub("channels/c", data)
	}
	req := &publishv1.ConsumeRequest{Address: "channels/c", FromBeginning: true}
	c, _ := h.consume(t.Context(), req)
	if m := c.message(); string(m.GetData()) != "1" {
		t.Fatalf("got %v", m)
	}
	g := c.next().GetGap()
	if g.GetAfter().GetOffset() != 1 || g.GetTo().GetOffset() != 2 || g.GetTo().GetEpoch() == "" || g.GetReason() != string(bus.GapTailUnknown) {
		t.Fatalf("got the gap %v", g)
	}
	if m := c.message(); string(m.GetData()) != "3" {
		t.Fatalf("got %v", m)
	}
	c, _ = h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/c", After: g.GetTo()})
	if m := c.message(); string(m.GetData()) != "3" {
		t.Errorf("behind the gap: got %v", m)
	}
	c, _ = h.consume(t.Context(), req)
	c.message()
	if g := c.next().GetGap(); g.GetTo().GetOffset() != 2 {
		t.Errorf("again: got the gap %v", g)
	}
	h.stop()
	if n := strings.Count(log.String(), "cannot be encoded"); n != 1 {
		t.Errorf("logged %d times, want once in ten seconds: %s", n, log.String())
	}
}
