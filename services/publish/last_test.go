package publish_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

func TestConsume_fromLast(t *testing.T) {
	h := start(t, publish.Config{})
	for _, address := range []string{"channels/last:x", "groups/g/topics/t", "channels/asked"} {
		req := &publishv1.PublishRequest{To: address, Data: []byte("1")}
		if address == "channels/asked" {
			req.Retain = durationpb.New(time.Minute)
		}
		_, err := h.publish.Publish(t.Context(), req)
		testkit.Check(t, err)
		c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: address, FromLast: true})
		if m := c.message(); string(m.GetData()) != "1" || !m.GetRedelivered() {
			t.Errorf("%s: got %v", address, m)
		}
		h.pub(address, "2")
		if m := c.message(); string(m.GetData()) != "2" || m.GetRedelivered() {
			t.Errorf("%s: got %v", address, m)
		}
	}
	// What says 0 is not retained, and leaves what is.
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/last:x", Data: []byte("3"), Retain: durationpb.New(0)})
	testkit.Check(t, err)
	c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/last:x", FromLast: true})
	if m := c.message(); string(m.GetData()) != "2" {
		t.Errorf("got %v", m)
	}
}

func TestPublish_retainBounds(t *testing.T) {
	h := start(t, publish.Config{})
	for _, d := range []time.Duration{-1, time.Microsecond, bus.MaxRetain + time.Second} {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/c", Data: []byte("1"), Retain: durationpb.New(d)})
		if e := rpc.FromError(err); e == nil || len(e.Fields) != 1 || e.Fields[0].Field != "retain" {
			t.Errorf("%s: %v", d, err)
		}
	}
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
		To: "users/u", Data: []byte("1"), Retain: durationpb.New(time.Minute), Ack: &publishv1.AckPolicy{},
	})
	if !errors.Is(rpc.FromError(err), bus.ErrFieldInvalid) {
		t.Errorf("with ack: %v", err)
	}
	large := []byte(`"` + string(make([]byte, 90<<10)) + `"`)
	for to, fits := range map[string]bool{"broadcast/topics/t": true, "users/u/topics/t": true, "channels/c": false, "users/u": false} {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: large, ContentType: publishv1.ContentType_CONTENT_TYPE_BINARY})
		if (err == nil) != fits {
			t.Errorf("90 KiB to %s: %v", to, err)
		}
	}
}
