package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Acks come around the deadline, twice, on the other edge, from both devices at once, and right before the connection goes. What
// has a receipt that reads ACKED is never delivered again. Everything else is, once each connect.
func TestAck_races(t *testing.T) {
	s := startSystem(t)
	phone, desk := s.device("ada", "phone", 0), s.device("ada", "desk", 1)
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	const n, timeout = 200, 300 * time.Millisecond
	ids := make(map[string]bool)
	publish := func() {
		resp, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte(`1`), Ack: &publishv1.AckPolicy{Timeout: durationpb.New(timeout)}})
		testkit.Check(t, err)
		ids[resp.GetId()] = true
	}
	state := func(id string) publishv1.DeliveryState {
		resp, err := grpc.GetReceipt(t.Context(), &publishv1.GetReceiptRequest{Address: "users/ada", Id: id})
		testkit.Check(t, err)
		return resp.GetReceipt().GetState()
	}
	for range n {
		publish()
	}
	var messages []*publishv1.Message
	for range n {
		messages = append(messages, next(t, phone.messages))
		next(t, desk.messages)
	}
	var acks sync.WaitGroup
	for i, m := range messages {
		at := m.GetPublishTime().AsTime().Add(timeout - 10*time.Millisecond + rand.N(20*time.Millisecond))
		acks.Go(func() {
			<-time.After(time.Until(at))
			switch i % 4 {
			case 0:
				phone.client.Ack(m)
			case 1:
				desk.client.Ack(m) // on the other edge
			case 2:
				phone.client.Ack(m)
				phone.client.Ack(m)
			case 3:
				phone.client.Ack(m)
				desk.client.Ack(m)
			}
		})
	}
	acks.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	testkit.Check(t, phone.client.Flush(ctx))
	testkit.Check(t, desk.client.Flush(ctx))
	for id := range ids {
		if st := state(id); st != publishv1.DeliveryState_DELIVERY_STATE_ACKED {
			t.Fatalf("%s reads %s after its ack was confirmed", id, st)
		}
	}

	// Acks that nobody waits for: the connection goes right behind them.
	clear(ids)
	for range n {
		publish()
	}
	for range n {
		m := next(t, phone.messages)
		if rand.N(2) == 0 {
			phone.client.Ack(m)
		}
	}
	phone.leave()
	desk.leave()
	left := map[string]bool{}
	testkit.Within(t, "the acks have settled", 10*time.Second, func() bool {
		before := len(left)
		clear(left)
		for id := range ids {
			if state(id) != publishv1.DeliveryState_DELIVERY_STATE_ACKED {
				left[id] = true
			}
		}
		return len(left) == before
	})
	for round := range 2 {
		again := s.device("ada", "phone", round)
		seen := map[string]bool{}
		for range len(left) {
			m := next(t, again.messages)
			if !left[m.GetId()] || seen[m.GetId()] || !m.GetRedelivered() {
				t.Fatalf("connect %d brought %v", round, m)
			}
			seen[m.GetId()] = true
		}
		_, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: fmt.Appendf(nil, `"end %d"`, round)})
		testkit.Check(t, err)
		if m := next(t, again.messages); string(m.GetData()) != fmt.Sprintf(`"end %d"`, round) {
			t.Errorf("connect %d brought more: %v", round, m)
		}
		again.leave()
	}
	t.Logf("%d acks around the deadline, all of them kept; of %d without an answer %d counted, and the others came again", n, n, n-len(left))
}
