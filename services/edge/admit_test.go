package edge_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// censor lets the devices that a message names in its attribute "for" have it; a message without it is for all. One
// that says "ask" waits until the gate is closed, and about one that says "away" nobody can say.
type censor struct{ gate chan struct{} }

var _ bus.DeliveryAuthorizer = censor{}

// AsksDeliver says that it is asked.
func (censor) AsksDeliver() bool { return true }

// Authorize decides.
func (c censor) Authorize(ctx context.Context, q bus.Question) error {
	if q.Action != bus.Deliver {
		return nil
	}
	only, limited := q.Message.Attributes["for"]
	switch {
	case only == "ask":
		select {
		case <-c.gate:
		case <-ctx.Done():
			return bus.ErrAuthorizerAway
		}
	case only == "away":
		return bus.ErrAuthorizerAway
	case limited && only != q.Identity.Client:
		return bus.ErrPermissionDenied.With("it is for "+only, map[string]string{"by": "authorizer"})
	}
	return nil
}

// overBoth runs a test over a store of each kind.
func overBoth(t *testing.T, cfg edge.Config, test func(t *testing.T, h *fixture)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, startOn(t, memory.New(memory.Config{}), cfg)) })
	t.Run("redis", func(t *testing.T) {
		store, err := redis.Open(redis.Config{URL: redistest.Start(t).URL()}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		t.Cleanup(func() { testkit.Check(t, store.Close()) })
		test(t, startOn(t, store, cfg))
	})
}

// device connects a device of ada.
func (h *fixture) device(name string) *client {
	h.tb.Helper()
	resp, err := h.auth.IssueToken(h.tb.Context(), &authv1.IssueTokenRequest{Client: name, User: "ada"})
	testkit.Check(h.tb, err)
	return h.connected(resp.GetToken())
}

// caughtUp waits until everything before it has been handed over.
func (c *client) caughtUp() {
	c.tb.Helper()
	c.send(`{"id":9,"ping":{}}`)
	if f := c.read(); f["pong"] == nil {
		c.tb.Fatalf("ping was answered with %v", f)
	}
}

// mail sends ada a message that asks for an ack.
func (h *fixture) mail(only, data string, timeout time.Duration) string {
	h.tb.Helper()
	req := &publishv1.PublishRequest{To: "users/ada", Data: []byte(data), Ack: &publishv1.AckPolicy{Timeout: durationpb.New(timeout)}}
	if only != "" {
		req.Attributes = map[string]string{"for": only}
	}
	resp, err := h.publish.Publish(h.tb.Context(), req)
	testkit.Check(h.tb, err)
	return resp.GetId()
}

// receipt waits until the receipt of a message to ada reads as wanted. That text has its state and reason, and each device
// with its state and why it was denied.
func (h *fixture) receipt(id, want string) {
	h.tb.Helper()
	ctx, cancel := context.WithTimeout(h.tb.Context(), 10*time.Second)
	defer cancel()
	watch, err := h.publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: id})
	testkit.Check(h.tb, err)
	got := ""
	for got != want {
		resp, err := watch.Recv()
		if err != nil {
			h.tb.Fatalf("the receipt reads %s, want %s: %v", got, want, err)
		}
		r := resp.GetReceipt()
		got = r.GetState().String()[len("DELIVERY_STATE_"):]
		if r.GetReason() != "" {
			got += " (" + r.GetReason() + ")"
		}
		for _, d := range r.GetRecipients() {
			got += fmt.Sprintf(", %s %s", d.GetClient(), d.GetState().String()[len("DELIVERY_STATE_"):])
			if d.GetDenyReason() != "" {
				got += " (" + d.GetDenyReason() + ")"
			}
		}
	}
}

const patient = time.Minute

func TestDenied_liveDevice(t *testing.T) {
	overBoth(t, edge.Config{Authorizer: censor{}}, func(t *testing.T, h *fixture) {
		phone, desk := h.device("phone"), h.device("desk")
		phone.caughtUp()
		desk.caughtUp()
		id := h.mail("desk", `"secret"`, patient)
		next := h.mail("", `"for all"`, patient)
		if m := desk.message(); m["data"] != "secret" || m["redelivered"] != nil {
			t.Errorf("the desk got %v", m)
		}
		for _, c := range []*client{phone, desk} {
			if m := c.message(); m["data"] != "for all" {
				t.Errorf("got %v", m)
			}
		}
		h.receipt(id, "SENT, desk SENT, phone DENIED (it is for desk)")
		h.receipt(next, "SENT, desk SENT, phone SENT")
		phone.send(fmt.Sprintf(`{"id":2,"ack":{"address":"users/ada","ids":[%q]}}`, id)) // it knows the id from elsewhere
		if f := phone.read(); f["acked"] == nil {
			t.Errorf("ack was answered with %v", f)
		}
		h.receipt(id, "SENT, desk SENT, phone DENIED (it is for desk)")
		desk.send(fmt.Sprintf(`{"id":2,"ack":{"address":"users/ada","ids":[%q]}}`, id))
		h.receipt(id, "ACKED, desk ACKED, phone DENIED (it is for desk)")
	})
}

// With every device denied the receipt reads DENIED at the deadline; the message waits for a device that may have it.
func TestDenied_everyDevice(t *testing.T) {
	overBoth(t, edge.Config{Authorizer: censor{}}, func(t *testing.T, h *fixture) {
		phone := h.device("phone")
		phone.caughtUp()
		id := h.mail("tablet", `"secret"`, 300*time.Millisecond)
		h.receipt(id, "PENDING, phone DENIED (it is for tablet)")
		h.receipt(id, "DENIED (it is for tablet), phone DENIED (it is for tablet)")
		phone.caughtUp() // it was given nothing
		phone.leave()
		h.mail("", `"newer"`, patient)
		again := h.device("phone")
		if m := again.message(); m["data"] != "newer" {
			t.Errorf("the phone got %v", m)
		}
		tablet := h.device("tablet")
		if m := tablet.message(); m["data"] != "secret" || m["redelivered"] != true {
			t.Errorf("the tablet got %v", m)
		}
		h.receipt(id, "STORED, phone DENIED (it is for tablet), tablet STORED")
		tablet.send(fmt.Sprintf(`{"ack":{"address":"users/ada","ids":[%q]}}`, id))
		h.receipt(id, "ACKED, phone DENIED (it is for tablet), tablet ACKED")
	})
}

// What waits in the inbox is asked about at the connect, in pages; what is denied does not count as delivered.
func TestDenied_redelivery(t *testing.T) {
	overBoth(t, edge.Config{Authorizer: censor{}}, func(t *testing.T, h *fixture) {
		const n = 150 // more than two pages
		var ids []string
		for i := range n {
			ids = append(ids, h.mail([]string{"", "desk", "phone"}[i%3], fmt.Sprint(i), patient))
		}
		phone := h.device("phone")
		for i := range n {
			if i%3 == 1 {
				continue
			}
			if m := phone.message(); m["data"] != float64(i) || m["redelivered"] != true {
				t.Fatalf("got %v, want %d", m, i)
			}
		}
		phone.caughtUp()
		h.receipt(ids[1], "PENDING, phone DENIED (it is for desk)")
		h.receipt(ids[148], "PENDING, phone DENIED (it is for desk)")
		h.receipt(ids[149], "SENT, phone SENT")
		resp, err := h.publish.GetReceipt(t.Context(), &publishv1.GetReceiptRequest{Address: "users/ada", Id: ids[1]})
		testkit.Check(t, err)
		if r := resp.GetReceipt(); r.GetDeliveries() != 0 || r.GetDeniedCount() != 1 || r.GetRecipients()[0].GetDenyTime() == nil {
			t.Errorf("receipt is %v", r)
		}
	})
}

// While somebody asks, what comes after it waits, and other addresses do not.
func TestDenied_askingKeepsTheOrder(t *testing.T) {
	gate := make(chan struct{})
	h := start(t, edge.Config{Authorizer: censor{gate: gate}, CallTimeout: 20 * time.Second})
	c := h.device("phone")
	c.caughtUp()
	h.mail("ask", `"first"`, patient)
	h.pub("users/ada", `"second"`)
	h.mail("desk", `"third, for the desk"`, patient)
	h.mail("", `"fourth"`, patient)
	h.pub("clients/phone", `"elsewhere"`)
	if m := c.message(); m["data"] != "elsewhere" {
		t.Errorf("got %v", m)
	}
	close(gate)
	for _, want := range []string{"first", "second", "fourth"} {
		if m := c.message(); m["data"] != want {
			t.Errorf("got %v, want %s", m, want)
		}
	}
}

// What is published while the inbox is being handed over is asked about, too.
func TestDenied_duringRedelivery(t *testing.T) {
	gate := make(chan struct{})
	h := start(t, edge.Config{Authorizer: censor{gate: gate}, CallTimeout: 20 * time.Second})
	h.mail("ask", `"first"`, patient)
	phone := h.device("phone")
	id := h.mail("desk", `"for the desk"`, patient)
	h.mail("", `"last"`, patient)
	h.pub("broadcast", `"to all"`) // comes after them
	if m := phone.message(); m["data"] != "to all" {
		t.Errorf("got %v", m)
	}
	close(gate)
	for _, want := range []string{"first", "last"} {
		if m := phone.message(); m["data"] != want {
			t.Errorf("got %v, want %s", m, want)
		}
	}
	h.receipt(id, "PENDING, phone DENIED (it is for desk)")
}

// late is a store in which something is published right after an inbox was looked at.
type late struct {
	bus.Store
	then func()
}

// Pending looks, and something happens.
func (l *late) Pending(ctx context.Context, to bus.Address, q bus.PendingQuery) (bus.PendingPage, error) {
	page, err := l.Store.Pending(ctx, to, q)
	if then := l.then; then != nil && !q.Deliver && len(page.Messages) > 0 {
		l.then = nil
		then()
	}
	return page, err
}

// What enters the inbox between the question and the delivery is not given away unasked.
func TestDenied_betweenQuestionAndDelivery(t *testing.T) {
	store := &late{Store: memory.New(memory.Config{})}
	h := startOn(t, store, edge.Config{Authorizer: censor{}})
	h.mail("", `"first"`, patient)
	var id string
	store.then = func() {
		id = h.mail("desk", `"for the desk"`, patient)
		h.mail("", `"last"`, patient)
	}
	phone := h.device("phone")
	for _, want := range []string{"first", "last"} {
		if m := phone.message(); m["data"] != want {
			t.Errorf("got %v, want %s", m, want)
		}
	}
	h.receipt(id, "PENDING, phone DENIED (it is for desk)")
}

// Nobody can say: the connection ends, the message waits, and nobody was denied it.
func TestDenied_authorizerIsAway(t *testing.T) {
	h := start(t, edge.Config{Authorizer: censor{}})
	c := h.device("phone")
	id := h.mail("away", `1`, patient)
	if code, reason := c.closed(); code != 4503 || reason != "AUTHORIZER_UNAVAILABLE" {
		t.Errorf("closed with %d %s", code, reason)
	}
	h.receipt(id, "PENDING")
	c = h.device("phone")
	if code, reason := c.closed(); code != 4503 || reason != "AUTHORIZER_UNAVAILABLE" {
		t.Errorf("the next connect: closed with %d %s", code, reason)
	}
	h.receipt(id, "PENDING")
}

// A connection whose token is another one by the time of the delivery is not given what was for the one before.
func TestDenied_byTheGrants(t *testing.T) {
	overBoth(t, edge.Config{}, func(t *testing.T, h *fixture) {
		c := h.device("phone")
		c.caughtUp()
		h.edge.Become("phone", &bus.Identity{Client: "phone", User: "eve", Expires: time.Now().Add(time.Hour)})
		id := h.mail("", `1`, patient)
		h.receipt(id, "PENDING, phone DENIED (these credentials do not grant subscribe on users/ada)")
		h.pub("clients/phone", `"own"`)
		if m := c.message(); m["data"] != "own" {
			t.Errorf("got %v", m)
		}
	})
}
