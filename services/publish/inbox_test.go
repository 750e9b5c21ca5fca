package publish_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// mail sends a message that asks for an ack.
func (h *fixture) mail(to, data string, policy *publishv1.AckPolicy) *publishv1.PublishResponse {
	h.tb.Helper()
	resp, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data), Ack: policy})
	testkit.Check(h.tb, err)
	return resp
}

func TestInbox_listsAcksAndCounts(t *testing.T) {
	h := start(t, publish.Config{})
	var ids []string
	for i := range 5 {
		ids = append(ids, h.mail("users/ada", fmt.Sprint(i), &publishv1.AckPolicy{}).GetId())
	}
	list := func() string {
		t.Helper()
		var got []string
		for token := ""; ; {
			resp, err := h.inboxes.ListInbox(t.Context(), &publishv1.ListInboxRequest{Address: "users/ada", PageSize: 2, PageToken: token})
			testkit.Check(t, err)
			for _, e := range resp.GetEntries() {
				if e.GetState() != publishv1.DeliveryState_DELIVERY_STATE_PENDING || e.GetDeliveries() != 0 || !e.GetMessage().GetAckRequired() {
					t.Errorf("entry is %v", e)
				}
				got = append(got, string(e.GetMessage().GetData()))
			}
			if token = resp.GetNextPageToken(); token == "" {
				return fmt.Sprint(got)
			}
		}
	}
	if got := list(); got != "[0 1 2 3 4]" {
		t.Errorf("inbox is %s", got)
	}
	resp, err := h.inboxes.AckMessages(t.Context(), &publishv1.AckMessagesRequest{Address: "users/ada", Ids: []string{ids[1], "nope", ids[3]}, Client: "phone"})
	testkit.Check(t, err)
	if resp.GetAcked() != 2 || len(resp.GetRefused()) != 1 || resp.GetRefused()[0].GetError().GetReason() != "MESSAGE_NOT_FOUND" {
		t.Errorf("answer is %v", resp)
	}
	if got := list(); got != "[0 2 4]" {
		t.Errorf("inbox is %s", got)
	}
	stats, err := h.inboxes.GetInboxStats(t.Context(), &publishv1.GetInboxStatsRequest{Address: "users/ada"})
	testkit.Check(t, err)
	if stats.GetCount() != 3 || stats.GetLimit() != 10_000 || stats.GetOldestTime() == nil || stats.GetKeep().AsDuration() != 7*24*time.Hour {
		t.Errorf("stats are %v", stats)
	}
}

func TestInbox_refuses(t *testing.T) {
	h := start(t, publish.Config{})
	_, err := h.inboxes.ListInbox(t.Context(), &publishv1.ListInboxRequest{Address: "channels/x"})
	refused(t, err, bus.ErrFieldInvalid)
	_, err = h.inboxes.AckMessages(t.Context(), &publishv1.AckMessagesRequest{Address: "users/ada"})
	refused(t, err, bus.ErrFieldInvalid)
	_, err = h.inboxes.AckMessages(t.Context(), &publishv1.AckMessagesRequest{Address: "users/ada", Ids: []string{"a b"}})
	refused(t, err, bus.ErrFieldInvalid)
	_, err = h.publish.GetReceipt(t.Context(), &publishv1.GetReceiptRequest{Address: "users/ada", Id: "nope"})
	refused(t, err, bus.ErrMessageNotFound)
	_, err = h.publish.GetReceipt(t.Context(), &publishv1.GetReceiptRequest{Address: "channels/x", Id: "nope"})
	refused(t, err, bus.ErrFieldInvalid)
	for _, bad := range []*publishv1.PublishRequest{
		{To: "channels/x", Ack: &publishv1.AckPolicy{}},
		{To: "groups/x", Ack: &publishv1.AckPolicy{}},
		{To: "broadcast", Ack: &publishv1.AckPolicy{}},
		{To: "users/x", Ack: &publishv1.AckPolicy{Scope: 9}},
		{To: "users/x", Ack: &publishv1.AckPolicy{Timeout: durationpb.New(2 * time.Hour)}},
		{To: "users/x", Ack: &publishv1.AckPolicy{Keep: durationpb.New(31 * 24 * time.Hour)}},
		{To: "users/x", Ack: &publishv1.AckPolicy{CollapseKey: "a b"}},
		{To: "users/x", Ack: &publishv1.AckPolicy{MaxDeliveries: 1}},
		{To: "users/x", Ack: &publishv1.AckPolicy{DeadLetter: "channels/dead"}},
		{To: "users/x", Ack: &publishv1.AckPolicy{MaxDeliveries: 1, DeadLetter: "users/dead"}},
		{To: "channels/live:x", Durability: publishv1.Durability_DURABILITY_REPLICATED},
		{To: "channels/x", Durability: publishv1.Durability_DURABILITY_ACCEPTED, Replicas: 2},
	} {
		_, err := h.publish.Publish(t.Context(), bad)
		refused(t, err, bus.ErrFieldInvalid)
	}
	_, err = h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/x", Durability: publishv1.Durability_DURABILITY_FSYNCED})
	refused(t, err, bus.ErrNotDurable)
}

// A token may use the inbox of its own addresses alone.
func TestInbox_isItsOwners(t *testing.T) {
	h := start(t, publish.Config{})
	id := h.mail("users/u-ada", `1`, &publishv1.AckPolicy{}).GetId()
	ada, bob := h.as("ada"), h.as("bob")
	_, err := h.inboxes.ListInbox(bob, &publishv1.ListInboxRequest{Address: "users/u-ada"})
	refused(t, err, bus.ErrPermissionDenied)
	_, err = h.inboxes.AckMessages(bob, &publishv1.AckMessagesRequest{Address: "users/u-ada", Ids: []string{id}})
	refused(t, err, bus.ErrPermissionDenied)
	_, err = h.publish.GetReceipt(bob, &publishv1.GetReceiptRequest{Address: "users/u-ada", Id: id})
	refused(t, err, bus.ErrPublishDenied)
	_, err = h.inboxes.AckMessages(ada, &publishv1.AckMessagesRequest{Address: "users/u-ada", Ids: []string{id}, Client: "somebody"})
	refused(t, err, bus.ErrFieldInvalid)
	resp, err := h.inboxes.AckMessages(ada, &publishv1.AckMessagesRequest{Address: "users/u-ada", Ids: []string{id}})
	testkit.Check(t, err)
	if resp.GetAcked() != 1 {
		t.Errorf("answer is %v", resp)
	}
}

// The receipt of a message that nobody acknowledges goes from PENDING over STORED to EXPIRED, and the service says so once.
func TestReceipts_followTheTimes(t *testing.T) {
	settled := make(chan bus.DeliveryState, 10)
	h := startOn(t, publish.Config{}, func(s *memory.Store) publish.Store {
		return &observed{Store: s, settled: func(state bus.DeliveryState) { settled <- state }}
	})
	m := h.mail("users/ada", `1`, &publishv1.AckPolicy{Timeout: durationpb.New(200 * time.Millisecond), Keep: durationpb.New(time.Second)})
	st, err := h.publish.WatchReceipts(t.Context(), &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: m.GetId()})
	testkit.Check(t, err)
	var states []string
	for {
		resp, err := st.Recv()
		if err != nil {
			break
		}
		states = append(states, strings.TrimPrefix(resp.GetReceipt().GetState().String(), "DELIVERY_STATE_"))
	}
	if fmt.Sprint(states) != "[PENDING STORED EXPIRED]" && fmt.Sprint(states) != "[PENDING STORED EXPIRED EXPIRED]" {
		t.Errorf("states are %v", states)
	}
	if a, b := <-settled, <-settled; a != bus.StateStored || b != bus.StateExpired {
		t.Errorf("the service was told %d, %d", a, b)
	}
}

func TestExplainDelivery(t *testing.T) {
	h := start(t, publish.Config{})
	explain := func(address, id, client, user string) (string, string) {
		t.Helper()
		resp, err := h.admin.ExplainDelivery(t.Context(), &adminv1.ExplainDeliveryRequest{Address: address, Id: id, Client: client, User: user})
		testkit.Check(t, err)
		var steps []string
		for _, d := range resp.GetDecisions() {
			steps = append(steps, d.GetStep()+" "+strings.TrimPrefix(d.GetEffect().String(), "EFFECT_"))
		}
		return resp.GetVerdict(), strings.Join(steps, ", ")
	}
	is := func(verdict, steps, wantVerdict, wantSteps string) {
		t.Helper()
		if verdict != wantVerdict || steps != wantSteps {
			t.Errorf("got %s: %s\nwant %s: %s", verdict, steps, wantVerdict, wantSteps)
		}
	}
	mail := h.mail("users/ada", `1`, &publishv1.AckPolicy{}).GetId()
	v, s := explain("users/ada", mail, "phone", "bob")
	is(v, s, "not_delivered", "own_address STOP")
	v, s = explain("users/ada", mail, "phone", "ada")
	is(v, s, "waiting", "own_address PASS, inbox PASS, sent UNKNOWN")
	a, err := bus.ParseAddress("users/ada")
	testkit.Check(t, err)
	testkit.Check(t, h.store.MarkSent(t.Context(), []bus.Ack{{To: a, ID: mail, Device: "phone"}}))
	v, s = explain("users/ada", mail, "phone", "ada")
	is(v, s, "delivered", "own_address PASS, inbox PASS, sent PASS, stored PASS")
	testkit.Check(t, h.store.Ack(t.Context(), []bus.Ack{{To: a, ID: mail, Device: "desk"}})[0])
	v, s = explain("users/ada", mail, "phone", "ada")
	is(v, s, "delivered", "own_address PASS, inbox PASS, sent PASS, acked PASS")
	v, s = explain("users/ada", mail, "watch", "ada")
	is(v, s, "not_delivered", "own_address PASS, inbox PASS, acked STOP")

	denied := h.mail("users/ada", `1`, &publishv1.AckPolicy{}).GetId()
	testkit.Check(t, h.store.MarkDenied(t.Context(), []bus.Denial{{To: a, ID: denied, Device: "phone", Why: "no"}}))
	v, s = explain("users/ada", denied, "phone", "ada")
	is(v, s, "not_delivered", "own_address PASS, inbox PASS, denied STOP")
	v, s = explain("users/ada", denied, "desk", "ada")
	is(v, s, "waiting", "own_address PASS, inbox PASS, sent UNKNOWN")

	resp, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/x", Data: []byte(`1`), Recipients: []string{"phone"}})
	testkit.Check(t, err)
	v, s = explain("channels/x", resp.GetId(), "desk", "")
	is(v, s, "not_delivered", "kept PASS, recipient STOP, subscribed UNKNOWN")
	v, s = explain("channels/x", resp.GetId(), "phone", "")
	is(v, s, "unknown", "kept PASS, recipient PASS, subscribed UNKNOWN")
	v, s = explain("channels/x", "nope", "phone", "")
	is(v, s, "unknown", "kept UNKNOWN, subscribed UNKNOWN")
}
