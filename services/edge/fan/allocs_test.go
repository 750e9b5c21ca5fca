package fan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// crowd is subscribers of an address that speak the dialect of the slot: JSON, or the binary protocol.
func crowd(tb testing.TB, to bus.Address, slot, subscribers int) *fan.Delivery {
	tb.Helper()
	return fan.NewRig(tb, memory.New(memory.Config{}), fan.Config{Dialects: dialects}).Deliver(to, slot, subscribers)
}

var dialects = []dialect.Dialect{native.JSON{}, native.Proto{}}

// message returns one of 128 bytes.
func message(tb testing.TB, to string) *bus.Message {
	tb.Helper()
	a, err := bus.ParseAddress(to)
	testkit.Check(tb, err)
	return &bus.Message{
		ID: "018f4e6e-7b7a-7c3e-9d2a-000000000000", To: a, Data: []byte(`{"text":"` + strings.Repeat("x", 117) + `"}`), ContentType: bus.JSON,
		From: bus.Sender{Client: "018f4e6e-7b7a-7c3e-9d2a-000000000001", User: "ada"}, Published: time.UnixMilli(1_700_000_000_123),
		Position: bus.Position{Epoch: "abcdefghijklm", Offset: 12345},
	}
}

// What a round allocates does not depend on how many subscribers it writes to.
func TestRound_allocatesNothingPerSubscriber(t *testing.T) {
	plain, others := message(t, "channels/news"), message(t, "channels/news")
	others.ExcludeClient = "its sender"
	many := make([]*bus.Message, 16)
	for i := range many {
		many[i] = plain
	}
	for name, messages := range map[string][]*bus.Message{
		"one message": {plain}, "several messages": many, "a message not for its sender": {others},
		"several, one not for its sender": {plain, others, plain},
	} {
		t.Run(name, func(t *testing.T) {
			for slot, d := range dialects {
				measure := func(subscribers int) float64 {
					crowd := crowd(t, plain.To, slot, subscribers)
					crowd.Expect(1, messages...)
					return testing.AllocsPerRun(20, func() {
						crowd.Deliver(messages...)
						crowd.Read()
					})
				}
				one, thousand := measure(1), measure(1000)
				t.Logf("%s: %g", d.Name(), one)
				if one != thousand {
					t.Errorf("%s: %g allocations for one subscriber, %g for 1000", d.Name(), one, thousand)
				}
			}
		})
	}
}

// Of several messages in a round, each subscriber gets those that it may have.
func TestRound_withholds(t *testing.T) {
	plain, others, old := message(t, "channels/news"), message(t, "channels/news"), message(t, "channels/news")
	others.ID, others.ExcludeClient = "others", "client1"
	old.ID, old.Expires = "old", time.UnixMilli(1_700_000_000_124)
	crowd := crowd(t, plain.To, 0, 3)
	crowd.Deliver(plain, others, plain)
	for i, want := range [][]*bus.Message{{plain, others, plain}, {plain, plain}, {plain, others, plain}} {
		crowd.Expect(1, want...)
		crowd.ReadOne(i)
	}
	crowd.Deliver(old, plain)
	crowd.Expect(1, plain)
	crowd.Read()
}

// A message costs so many allocations, once for all of its subscribers.
func TestFrame_allocations(t *testing.T) {
	m := message(t, "channels/news")
	for _, d := range dialects {
		if n := testing.AllocsPerRun(100, func() { fan.MessageFrame(d, m) }); n > 1 {
			t.Errorf("%s: %g allocations, want that of the bytes alone", d.Name(), n)
		}
	}
}
