package gateway_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/trunkline/trunkline/gateway"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

// never is a time that JSON has no words for.
var never = &timestamppb.Timestamp{Seconds: 1 << 50}

// consumeUnencodable sends what JSON has no words for: a message between two others, or an event that is no message.
func consumeUnencodable(address string, s grpc.ServerStreamingServer[publishv1.ConsumeResponse]) error {
	message := func(offset uint64, at *timestamppb.Timestamp) *publishv1.ConsumeResponse {
		return &publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_Message{Message: &publishv1.Message{
			Id: "m", To: address, PublishTime: at, Position: &publishv1.Position{Epoch: "e", Offset: offset},
		}}}
	}
	list := []*publishv1.ConsumeResponse{message(6, nil), message(7, never), message(8, nil)}
	if address == "channels/hopeless" {
		change := &publishv1.PresenceChange{EventTime: never}
		list[1] = &publishv1.ConsumeResponse{Event: &publishv1.ConsumeResponse_PresenceEvent{
			PresenceEvent: &publishv1.PresenceEvent{Address: address, Changes: []*publishv1.PresenceChange{change}},
		}}
	}
	for _, e := range list {
		if err := s.Send(e); err != nil {
			return err
		}
	}
	return nil
}

// A message that cannot be encoded is told as a gap. The reader goes on behind it, and does not meet it again when it comes back.
func TestStream_tellsWhatCannotBeEncoded(t *testing.T) {
	var log bytes.Buffer
	s := serveEcho(t.Context(), t, gateway.Config{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	gap := `{"address":"channels/unencodable","after":{"epoch":"e","offset":"6"},"to":{"epoch":"e","offset":"7"},"reason":"tail_unknown"}`
	got := testkit.Send(t, s, "GET", "/v1/channels/unencodable/stream", "")
	if lines := strings.Split(got.Body, "\n"); len(lines) != 4 || lines[1] != `{"result":{"gap":`+gap+`}}` || !strings.Contains(lines[2], `"offset":"8"`) {
		t.Errorf("NDJSON: got %s", got.Body)
	}
	got = testkit.Send(t, s, "GET", "/v1/channels/unencodable/stream", "", "Accept: text/event-stream")
	if parts := strings.Split(got.Body, "\n\n"); len(parts) != 4 || parts[1] != "id: e:7\nevent: gap\ndata: "+gap || !strings.HasPrefix(parts[2], "id: e:8\n") {
		t.Errorf("events: got %s", got.Body)
	}
	s.Close() // the handlers are done with the log
	if n := strings.Count(log.String(), "cannot be encoded"); n != 1 || !strings.Contains(log.String(), "timestamp out of range") {
		t.Errorf("logged %d times, want once in ten seconds: %s", n, log.String())
	}
}

// An event that is no message has no place that a gap could tell: the stream says why it ends.
func TestStream_endsWithWhatCannotBeEncoded(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for accept, want := range map[string]string{"application/x-ndjson": `{"error":{"code":500`, "text/event-stream": `event: error`} {
		got := testkit.Send(t, s, "GET", "/v1/channels/hopeless/stream", "", "Accept: "+accept)
		if !strings.Contains(got.Body, "\n"+want) || !strings.Contains(got.Body, `"reason":"INTERNAL"`) || strings.Contains(got.Body, `"offset":"8"`) {
			t.Errorf("%s: got %s", accept, got.Body)
		}
	}
}
