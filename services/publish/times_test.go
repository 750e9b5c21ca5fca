package publish_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// settlement is what the service said of a message, and when.
type settlement struct {
	state bus.DeliveryState
	after time.Duration
}

// This runs on a clock of its own. A message counts as stored 30 s after its publish and is kept as long as its publisher says.
// An ack at any time before ends both. The sweep tells of each change once and within a second.
func TestAck_times(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		settled := make(chan settlement, 10)
		store := &observed{Store: memory.New(memory.Config{}), settled: func(state bus.DeliveryState) {
			settled <- settlement{state, time.Since(start)}
		}}
		s, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace()}})
		testkit.Check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		call := rpc.WithCaller(ctx, rpc.Backend("test", rpc.ScopeAll))
		mail := func(policy *publishv1.AckPolicy) string {
			t.Helper()
			resp, err := s.Publish(call, &publishv1.PublishRequest{To: "users/ada", Data: []byte(`1`), Ack: policy})
			testkit.Check(t, err)
			return resp.GetId()
		}
		state := func(id string) publishv1.DeliveryState {
			t.Helper()
			resp, err := s.GetReceipt(call, &publishv1.GetReceiptRequest{Address: "users/ada", Id: id})
			testkit.Check(t, err)
			return resp.GetReceipt().GetState()
		}
		at := func(d time.Duration) { <-time.After(time.Until(start.Add(d))) }
		forgotten := mail(&publishv1.AckPolicy{Keep: durationpb.New(time.Hour)})
		acked := mail(&publishv1.AckPolicy{})
		late := mail(&publishv1.AckPolicy{Timeout: durationpb.New(time.Second)})

		at(30*time.Second - time.Millisecond)
		if s := state(forgotten); s != publishv1.DeliveryState_DELIVERY_STATE_PENDING {
			t.Errorf("1 ms before its deadline the state is %s", s)
		}
		_, err = s.AckMessages(call, &publishv1.AckMessagesRequest{Address: "users/ada", Ids: []string{acked, late}})
		testkit.Check(t, err)
		at(30 * time.Second)
		if s := state(forgotten); s != publishv1.DeliveryState_DELIVERY_STATE_STORED {
			t.Errorf("at its deadline the state is %s", s)
		}
		for _, id := range []string{acked, late} {
			if s := state(id); s != publishv1.DeliveryState_DELIVERY_STATE_ACKED {
				t.Errorf("after an ack the state is %s", s)
			}
		}
		at(time.Hour + time.Minute)
		if s := state(forgotten); s != publishv1.DeliveryState_DELIVERY_STATE_EXPIRED {
			t.Errorf("after an hour the state is %s", s)
		}
		for _, want := range []settlement{
			{bus.StateStored, time.Second}, {bus.StateStored, 30 * time.Second}, {bus.StateExpired, time.Hour},
		} {
			got := <-settled
			if got.state != want.state || got.after < want.after || got.after > want.after+time.Second {
				t.Errorf("the service told %d after %s, want %d after %s", got.state, got.after, want.state, want.after)
			}
		}
		at(2 * time.Hour)
		if len(settled) > 0 {
			t.Errorf("the service told more: %+v", <-settled)
		}
		cancel()
		testkit.Check(t, <-done)
	})
}
