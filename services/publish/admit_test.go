package publish_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
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
	testkit.Check(t, err)
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
	testkit.Check(t, err)
	if d := r.GetReceipt().GetRecipients(); len(d) != 1 || d[0].GetState() != publishv1.DeliveryState_DELIVERY_STATE_DENIED || d[0].GetDenyReason() != "no" {
		t.Errorf("receipt is %v", r)
	}
	back, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "users/u-c1", FromBeginning: true})
	if m := back.message(); m.GetId() != resp.GetId() {
		t.Errorf("a back end got %v", m)
	}
}

// A message that everybody was denied waits in the inbox like any other: it is settled, and told, as stored.
func TestDenied_isToldAsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settled, events := make(chan bus.DeliveryState, 1), bus.Retention{Length: 100, Age: time.Hour}
		store := &observed{Store: memory.New(memory.Config{}), settled: func(state bus.DeliveryState) { settled <- state }}
		s, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace(), Events: events}})
		testkit.Check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		call := rpc.WithCaller(ctx, rpc.Backend("test", rpc.ScopeAll))
		resp, err := s.Publish(call, &publishv1.PublishRequest{To: "users/ada", Data: []byte(`1`), Ack: &publishv1.AckPolicy{}})
		testkit.Check(t, err)
		to, err := bus.ParseAddress("users/ada")
		testkit.Check(t, err)
		testkit.Check(t, store.MarkDenied(ctx, []bus.Denial{{To: to, ID: resp.GetId(), Device: "phone", Why: "no"}}))
		if state := <-settled; state != bus.StateStored {
			t.Errorf("the service told %d", state)
		}
		r, err := s.GetReceipt(call, &publishv1.GetReceiptRequest{Address: "users/ada", Id: resp.GetId()})
		testkit.Check(t, err)
		if got := r.GetReceipt(); got.GetState() != publishv1.DeliveryState_DELIVERY_STATE_DENIED || got.GetReason() != "no" {
			t.Errorf("receipt is %v", got)
		}
		page, err := store.Latest(ctx, bus.EventLog, events, 0, 10)
		testkit.Check(t, err)
		if len(page.Messages) != 1 {
			t.Fatalf("%d events", len(page.Messages))
		}
		if e, err := bus.EventOf(page.Messages[0]); err != nil || e.Kind != bus.EventStored || e.Message != resp.GetId() {
			t.Errorf("the event is %+v, %v", e, err)
		}
		cancel()
		testkit.Check(t, <-done)
	})
}

// What a device has acknowledged is not given to it again by a stream, while other devices are given it.
func TestConsume_leavesOutWhatTheDeviceAcknowledged(t *testing.T) {
	h := start(t, publish.Config{})
	policy := &publishv1.AckPolicy{Scope: publishv1.AckScope_ACK_SCOPE_EACH_DEVICE}
	first := h.mail("users/u-ada", `"first"`, policy).GetId()
	h.mail("users/u-ada", `"second"`, policy)
	ada := h.as("ada")
	all := &publishv1.ConsumeRequest{Address: "users/u-ada", FromBeginning: true}
	c, _ := h.consume(ada, all)
	if m := c.message(); string(m.GetData()) != `"first"` {
		t.Errorf("got %v", m)
	}
	resp, err := h.inboxes.AckMessages(ada, &publishv1.AckMessagesRequest{Address: "users/u-ada", Ids: []string{first}})
	testkit.Check(t, err)
	if resp.GetAcked() != 1 {
		t.Errorf("answer is %v", resp)
	}
	for _, want := range []struct {
		ctx  context.Context
		text string
	}{{ada, `"second"`}, {t.Context(), `"first"`}} {
		c, _ := h.consume(want.ctx, all)
		if m := c.message(); string(m.GetData()) != want.text || !m.GetRedelivered() {
			t.Errorf("got %v, want %s", m, want.text)
		}
	}
}
