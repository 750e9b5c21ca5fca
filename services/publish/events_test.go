package publish_test

import (
	"context"
	"fmt"
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

// shaky is a store that fails. The log of events fails the first times. Then every first Settle after the event was written
// fails, as if the process had died in between.
type shaky struct {
	*memory.Store
	refuse  int
	settled map[bus.Due]int
}

func (s *shaky) PublishAll(ctx context.Context, ps []bus.Admitted) ([]bus.Receipt, []error) {
	if ps[0].Publication().Message.To == bus.EventLog && s.refuse > 0 {
		s.refuse--
		errs := make([]error, len(ps))
		for i := range errs {
			errs[i] = bus.ErrStoreUnavailable
		}
		return make([]bus.Receipt, len(ps)), errs
	}
	return s.Store.PublishAll(ctx, ps)
}

func (s *shaky) SettleAll(ctx context.Context, list []bus.Verdict) ([]bus.Settlement, []error) {
	out, errs := make([]bus.Settlement, len(list)), make([]error, len(list))
	for i, v := range list {
		if s.settled[v.Due]++; s.settled[v.Due]%2 == 1 {
			errs[i] = bus.ErrStoreUnavailable
			continue
		}
		some, err := s.Store.SettleAll(ctx, list[i:i+1])
		out[i], errs[i] = some[0], err[0]
	}
	return out, errs
}

// Each message that was stored or has expired is told once, whatever fails in between.
func TestSweep_tellsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep := bus.Retention{Length: 1000, Age: 100 * time.Hour}
		store := &shaky{Store: memory.New(memory.Config{Events: keep}), refuse: 2, settled: make(map[bus.Due]int)}
		s, err := publish.New(store, publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace(), Events: keep}})
		testkit.Check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		call := rpc.WithCaller(ctx, rpc.Backend("test", rpc.ScopeAll))
		start := time.Now()
		mail := func(policy *publishv1.AckPolicy) string {
			t.Helper()
			policy.Timeout, policy.Keep = durationpb.New(30*time.Second), durationpb.New(time.Hour)
			resp, err := s.Publish(call, &publishv1.PublishRequest{To: "users/ada", Data: []byte(`1`), Ack: policy})
			testkit.Check(t, err)
			return resp.GetId()
		}
		kept := mail(&publishv1.AckPolicy{})
		acked := mail(&publishv1.AckPolicy{})
		old := mail(&publishv1.AckPolicy{CollapseKey: "k"})
		fresh := mail(&publishv1.AckPolicy{CollapseKey: "k"})
		_, err = s.AckMessages(call, &publishv1.AckMessagesRequest{Address: "users/ada", Ids: []string{acked, fresh}})
		testkit.Check(t, err)
		<-time.After(2 * time.Hour)
		cancel()
		testkit.Check(t, <-done)
		page, err := store.Since(context.Background(), bus.EventLog, keep, bus.Position{}, 1000)
		testkit.Check(t, err)
		got := map[string]time.Duration{}
		for _, m := range page.Messages {
			e, err := bus.EventOf(m)
			testkit.Check(t, err)
			key := fmt.Sprint(e.Kind, " ", e.Reason, " ", e.Address, " ", e.Message)
			if _, twice := got[key]; twice {
				t.Errorf("%s is told twice", key)
			}
			got[key] = e.Time().Sub(start.Truncate(time.Millisecond)).Truncate(time.Second)
		}
		want := map[string]time.Duration{
			"stored  users/ada " + kept: 30 * time.Second, "expired ttl users/ada " + kept: time.Hour, "expired collapsed users/ada " + old: 0,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("events are %v, want %v", got, want)
		}
	})
}
