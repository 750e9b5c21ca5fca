package publish_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// guard refuses to publish to what it is told to.
type guard map[string]bool

// Authorize decides.
func (g guard) Authorize(_ context.Context, q bus.Question) error {
	if q.Action == bus.Publish && g[q.Address.String()] {
		return bus.Denied(q.Action, q.Address)
	}
	return nil
}

// What the authorizer refuses is no state either: neither changed, nor told of, nor removed.
func TestState_asksTheAuthorizer(t *testing.T) {
	h := start(t, publish.Config{Authorizer: guard{"channels/secret": true}})
	ada := h.as("ada", grant("channels/*", authv1.Action_ACTION_PUBLISH))
	before, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: "channels/secret", Data: []byte(`{"a":1}`)})
	testkit.Check(t, err)
	wrong := uint64(7)
	for _, revision := range []*uint64{nil, &wrong} {
		_, err := h.states.UpdateState(ada, &publishv1.UpdateStateRequest{Address: "channels/secret", Data: []byte(`{"a":2}`), Revision: revision})
		refused(t, err, bus.ErrPublishDenied)
	}
	_, err = h.states.DeleteState(ada, &publishv1.DeleteStateRequest{Address: "channels/secret"})
	refused(t, err, bus.ErrPublishDenied)
	resp, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: "channels/secret"})
	if err != nil || resp.GetState().GetRevision() != before.GetState().GetRevision() {
		t.Errorf("state is %v, %v", resp, err)
	}
	page, err := h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/secret"})
	if err != nil || len(page.GetMessages()) != 1 {
		t.Errorf("history is %v, %v", page, err)
	}
	open, err := h.states.UpdateState(ada, &publishv1.UpdateStateRequest{Address: "channels/open", Data: []byte(`{"a":2}`)})
	if err != nil || open.GetState().GetRevision() != 1 {
		t.Errorf("what it allows: %v, %v", open, err)
	}
}

// A state is refused where a message of its namespace is: for want of copies, and of the channel.
func TestState_obeysItsNamespace(t *testing.T) {
	h := start(t, publish.Config{})
	for to, want := range map[string]*bus.Error{"channels/strict:x": bus.ErrNotDurable, "channels/made:x": bus.ErrChannelNotFound} {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: to})
		refused(t, err, want)
		_, err = h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: to, Data: []byte(`{}`)})
		refused(t, err, want)
		_, err = h.states.DeleteState(t.Context(), &publishv1.DeleteStateRequest{Address: to})
		refused(t, err, want)
	}
}

// Dead letters are a second address that a publish writes to: every check of the first is made for it.
func TestDeadLetter_isCheckedWhenItIsSent(t *testing.T) {
	h := start(t, publish.Config{Authorizer: guard{"channels/secret": true}})
	_, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/made:there"})
	testkit.Check(t, err)
	ada := h.as("ada", grant("users/ada", authv1.Action_ACTION_PUBLISH), grant("channels/secret", authv1.Action_ACTION_PUBLISH),
		grant("channels/made:*", authv1.Action_ACTION_PUBLISH))
	mail := func(ctx context.Context, deadLetter string) error {
		_, err := h.publish.Publish(ctx, &publishv1.PublishRequest{
			To: "users/ada", Data: []byte("1"), Ack: &publishv1.AckPolicy{MaxDeliveries: 1, DeadLetter: deadLetter},
		})
		return err
	}
	refused(t, mail(ada, "channels/other"), bus.ErrPublishDenied)
	refused(t, mail(ada, "channels/secret"), bus.ErrPublishDenied)
	refused(t, mail(ada, "channels/made:away"), bus.ErrChannelNotFound)
	refused(t, mail(t.Context(), "channels/made:away"), bus.ErrChannelNotFound)
	refused(t, mail(t.Context(), "system/revoked"), bus.ErrFieldInvalid)
	stats, err := h.inboxes.GetInboxStats(t.Context(), &publishv1.GetInboxStatsRequest{Address: "users/ada"})
	if err != nil || stats.GetCount() != 0 {
		t.Errorf("inbox is %v, %v", stats, err)
	}
	testkit.Check(t, mail(ada, "channels/made:there"))
	testkit.Check(t, mail(t.Context(), "channels/secret")) // a back end asks nobody
}

// crowd allows everything, once so many questions wait for an answer at the same time.
type crowd struct {
	want          int32
	waiting, most atomic.Int32
	all           chan struct{}
	once          sync.Once
}

// Authorize decides.
func (c *crowd) Authorize(ctx context.Context, q bus.Question) error {
	if q.Action != bus.Publish {
		return nil
	}
	n := c.waiting.Add(1)
	defer c.waiting.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	if n >= c.want {
		c.once.Do(func() { close(c.all) })
	}
	select {
	case <-c.all:
		return nil
	case <-ctx.Done():
		return bus.ErrAuthorizerAway.Wrap(ctx.Err())
	}
}

// A batch asks about some of its messages at a time, and answers each in its place.
func TestBatch_asksTheAuthorizerTogether(t *testing.T) {
	c := &crowd{want: 8, all: make(chan struct{})}
	h := start(t, publish.Config{Authorizer: c})
	ctx, cancel := context.WithTimeout(h.as("ada", grant("channels/a:*", authv1.Action_ACTION_PUBLISH)), 10*time.Second)
	defer cancel()
	req := &publishv1.BatchPublishRequest{}
	for i := range 100 {
		to := fmt.Sprint("channels/a:", i)
		if i%10 == 3 {
			to = "channels/b"
		}
		req.Requests = append(req.Requests, &publishv1.PublishRequest{To: to, Data: []byte("1")})
	}
	resp, err := h.publish.BatchPublish(ctx, req)
	testkit.Check(t, err)
	for i, r := range resp.GetResults() {
		if denied := r.GetError().GetReason() == "CHANNEL_PUBLISH_DENIED"; denied != (i%10 == 3) || !denied && r.GetOk().GetPosition().GetOffset() != 1 {
			t.Errorf("message %d: %v", i, r)
		}
	}
	if most := c.most.Load(); most > 16 {
		t.Errorf("%d questions at once", most)
	}
}

// mute answers for some addresses only.
type mute struct{}

// Authorize decides.
func (mute) Authorize(ctx context.Context, q bus.Question) error {
	if q.Action == bus.Publish && strings.HasPrefix(q.Address.String(), "channels/mute") {
		<-ctx.Done()
		return bus.ErrAuthorizerAway.Wrap(ctx.Err())
	}
	return nil
}

// An authorizer that does not answer about some of a batch holds up only those: the others are sent before the call ends.
func TestBatch_sendsWhatWasAllowed(t *testing.T) {
	h := start(t, publish.Config{Authorizer: mute{}})
	ctx, cancel := context.WithTimeout(h.as("ada", grant("channels/*", authv1.Action_ACTION_PUBLISH)), 4*time.Second)
	defer cancel()
	req := &publishv1.BatchPublishRequest{}
	for i := range 40 {
		to := fmt.Sprint("channels/open:", i)
		if i >= 20 {
			to = fmt.Sprint("channels/mute:", i)
		}
		req.Requests = append(req.Requests, &publishv1.PublishRequest{To: to, Data: []byte("1")})
	}
	resp, err := h.publish.BatchPublish(ctx, req)
	testkit.Check(t, err)
	for i, r := range resp.GetResults() {
		if i < 20 && r.GetOk() == nil || i >= 20 && r.GetError().GetReason() != "AUTHORIZER_UNAVAILABLE" {
			t.Errorf("message %d: %v", i, r)
		}
	}
}
