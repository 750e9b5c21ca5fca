package publish_test

import (
	"context"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/publish"
)

// censor lets nobody have a message with the attribute "secret", the first time that it is asked about it.
type censor map[string]bool

var _ bus.DeliveryAuthorizer = censor{}

// AsksDeliver says that it is asked.
func (censor) AsksDeliver() bool { return true }

// Authorize decides. It is called by one stream at a time.
func (c censor) Authorize(_ context.Context, q bus.Question) error {
	if q.Action != bus.Deliver || q.Message.Attributes["secret"] == "" || c[q.Message.ID] {
		return nil
	}
	c[q.Message.ID] = true
	return bus.ErrPermissionDenied.With("no", nil)
}

// A stream is a device: what it may not have is not sent, and is not sent by a later stream of the client.
func TestConsume_denied(t *testing.T) {
	h := start(t, publish.Config{Authorizer: censor{}})
	ctx := h.as("c1")
	c, _ := h.consume(ctx, &publishv1.ConsumeRequest{Address: "users/u-c1"})
	resp, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
		To: "users/u-c1", Data: []byte(`"secret"`), Ack: &publishv1.AckPolicy{}, Attributes: map[string]string{"secret": "1"},
	})
	check(t, err)
	open := h.mail("users/u-c1", `"open"`, &publishv1.AckPolicy{}).GetId()
	if m := c.message(); m.GetId() != open {
		t.Errorf("got %v", m)
	}
	c.cancel()
	c, _ = h.consume(ctx, &publishv1.ConsumeRequest{Address: "users/u-c1", FromBeginning: true})
	if m := c.message(); m.GetId() != open || !m.GetRedelivered() {
		t.Errorf("the next stream got %v", m)
	}
	r, err := h.publish.GetReceipt(t.Context(), &publishv1.GetReceiptRequest{Address: "users/u-c1", Id: resp.GetId()})
	check(t, err)
	if d := r.GetReceipt().GetRecipients(); len(d) != 1 || d[0].GetState() != publishv1.DeliveryState_DELIVERY_STATE_DENIED || d[0].GetDenyReason() != "no" {
		t.Errorf("receipt is %v", r)
	}
	back, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "users/u-c1", FromBeginning: true})
	if m := back.message(); m.GetId() != resp.GetId() {
		t.Errorf("a back end got %v", m)
	}
}
