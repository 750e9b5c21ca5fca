package bustest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Events is how the store of Open keeps the log of events.
var Events = bus.Retention{Length: 100_000, Age: time.Hour}

// Open returns a store that is closed with the test and keeps events as Events says.
type Open func(tb testing.TB) bus.Store

// keep is a durable retention.
var keep = bus.Retention{Length: 100, Age: time.Minute}

// wait bounds every wait for an event.
const wait = 15 * time.Second

// address returns one that no other test uses.
func address(tb testing.TB) bus.Address {
	tb.Helper()
	a, err := bus.NewAddress(bus.KindChannels, "test:"+uuid.NewString())
	testkit.Check(tb, err)
	return a
}

// message returns a message with every field set that a text makes sense in.
func message(to bus.Address, text string) bus.Message {
	return bus.Message{
		ID: uuid.NewString(), To: to, Data: []byte(text), ContentType: bus.Text,
		Published: time.Now().Truncate(time.Millisecond),
	}
}

func durable(to bus.Address, text string) bus.Publication {
	return bus.Publication{Message: message(to, text), Retention: keep}
}

func publish(tb testing.TB, s bus.Store, p bus.Publication) bus.Receipt {
	tb.Helper()
	r, err := s.Publish(tb.Context(), Admit(p))
	testkit.Check(tb, err)
	return r
}

// listener is a running feed that keeps what it gets.
type listener struct {
	tb          testing.TB
	feed        bus.Feed
	messages    chan *bus.Message
	interrupted atomic.Int64
}

// Deliver keeps a message.
func (l *listener) Deliver(m *bus.Message) { l.messages <- m }

// Interrupted counts.
func (l *listener) Interrupted([]bus.Address) { l.interrupted.Add(1) }

// Listen runs a feed of the store until the test ends.
func listen(tb testing.TB, s bus.Store, addresses ...bus.Address) *listener {
	tb.Helper()
	l := &listener{tb: tb, feed: s.NewFeed(), messages: make(chan *bus.Message, 1<<16)}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.feed.Run(ctx, l); err != nil {
			tb.Errorf("Run returned %v", err)
		}
	})
	tb.Cleanup(func() { cancel(); done.Wait() })
	l.subscribe(addresses...)
	return l
}

func (l *listener) subscribe(addresses ...bus.Address) {
	l.tb.Helper()
	ctx, cancel := context.WithTimeout(l.tb.Context(), wait)
	defer cancel()
	testkit.Check(l.tb, l.feed.Subscribe(ctx, addresses...))
}

func (l *listener) next() *bus.Message {
	l.tb.Helper()
	select {
	case m := <-l.messages:
		return m
	case <-time.After(wait):
		l.tb.Fatal("no message came")
		return nil
	}
}

func text(m *bus.Message) string { return string(m.Data) }

func texts(ms []*bus.Message) string {
	var all []string
	for _, m := range ms {
		all = append(all, text(m))
	}
	return fmt.Sprint(all)
}
