package edge_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// gated is a store that lets calls through one by one: each takes a value from its gate, and goes on when that is closed.
type gated struct {
	bus.Store
	pending, ack, join chan struct{}
}

// gate returns a gate, and what opens it, which has to happen before the fixture is stopped.
func gate() (closed chan struct{}, open func()) {
	closed = make(chan struct{})
	open = sync.OnceFunc(func() { close(closed) })
	return closed, open
}

func (g *gated) Pending(ctx context.Context, to bus.Address, q bus.PendingQuery) (bus.PendingPage, error) {
	if g.pending != nil {
		<-g.pending
	}
	return g.Store.Pending(ctx, to, q)
}

func (g *gated) Ack(ctx context.Context, acks []bus.Ack) []error {
	if g.ack != nil {
		<-g.ack
	}
	return g.Store.Ack(ctx, acks)
}

func (g *gated) Join(ctx context.Context, a bus.Address, m bus.Member) error {
	if g.join != nil {
		<-g.join
	}
	return g.Store.Join(ctx, a, m)
}

// A client that has gone by the time its inbox is written uses up no delivery, and the next one is given everything.
func TestDeliveries_ofAClientThatDiesInItsHandshake(t *testing.T) {
	redisStore, err := redis.Open(redis.Config{URL: redistest.Start(t).URL()}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, redisStore.Close()) })
	for name, under := range map[string]bus.Store{"memory": memory.New(memory.Config{}), "redis": redisStore} {
		t.Run(name, func(t *testing.T) {
			pending, goOn := gate()
			first := startOn(t, &gated{Store: under, pending: pending}, edge.Config{})
			t.Cleanup(goOn)
			resp, err := first.publish.Publish(t.Context(), &publishv1.PublishRequest{
				To: "users/ada", Data: []byte(`"once"`), Ack: &publishv1.AckPolicy{MaxDeliveries: 1, DeadLetter: "channels/dead"},
			})
			testkit.Check(t, err)
			for range 3 {
				testkit.Check(t, first.device("phone").ws.UnderlyingConn().Close())
			}
			goOn()
			first.stop() // waits for the sessions, and for what they have noted
			second := startOn(t, under, edge.Config{})
			second.receipt(resp.GetId(), "PENDING")
			if m := second.device("phone").message(); m["data"] != "once" || m["redelivered"] != true {
				t.Errorf("got %v", m)
			}
			second.receipt(resp.GetId(), "SENT, phone SENT")
			c := second.device("phone") // it is dead now
			c.caughtUp()
			second.receipt(resp.GetId(), "EXPIRED (dead_letter), phone EXPIRED")
		})
	}
}
