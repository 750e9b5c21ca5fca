package presence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/presence"
	"github.com/trunkline/trunkline/internal/testkit"
)

// crowd is a Gatherer that runs, and what it has handed on.
type crowd struct {
	*presence.Gatherer
	tb      testing.TB
	clients int

	mu   sync.Mutex
	told []bus.PresenceNews
}

func gather(t *testing.T, listed int) *crowd {
	t.Helper()
	c := &crowd{tb: t}
	c.Gatherer = presence.New(listed, func(m *bus.Message) {
		news, err := bus.PresenceNewsOf(m)
		testkit.Check(t, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = append(c.told, news)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { testkit.Check(t, c.Run(ctx)) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return c
}

// joins and leaves are changes as a store tells them.
func (c *crowd) joins(client string) { c.clients++; c.add(bus.PresenceJoined, client) }

func (c *crowd) leaves(client string) {
	c.clients--
	c.add(bus.PresenceLeft, client)
}

func (c *crowd) add(kind, client string) {
	c.tb.Helper()
	data, err := json.Marshal(bus.PresenceEvent{Kind: kind, Member: bus.Member{Connection: "of-" + client, Client: client}, Clients: c.clients})
	testkit.Check(c.tb, err)
	c.Add(&bus.Message{ID: "x", To: hall(c.tb), Kind: bus.MessagePresence, Data: data})
}

func hall(tb testing.TB) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress("channels/hall")
	testkit.Check(tb, err)
	return a
}

// want compares what was handed on with one text for each event, and forgets it.
func (c *crowd) want(texts ...string) {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var got []string
	for _, news := range c.told {
		var parts []string
		for _, change := range news.Changes {
			parts = append(parts, change.Kind+" "+change.Member.Client)
		}
		got = append(got, fmt.Sprintf("%s (%d, %d)", strings.Join(parts, ", "), news.Clients, news.Unlisted))
	}
	if strings.Join(got, "; ") != strings.Join(texts, "; ") {
		c.tb.Fatalf("told is %q, want %q", got, texts)
	}
	c.told = nil
}

// after lets so much time pass, and everything happen that is due then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestGatherer_tellsTheFirstAtOnceAndTheRestInBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, 10)
		c.joins("ada")
		c.want("joined ada (1, 0)")
		c.joins("bob")
		c.joins("carol")
		c.leaves("ada")
		c.want()
		after(249 * time.Millisecond)
		c.want()
		after(time.Millisecond)
		c.want("joined bob, joined carol, left ada (2, 0)")
		c.joins("dave") // the next beat has begun
		c.want()
		after(250 * time.Millisecond)
		c.want("joined dave (3, 0)")
		after(time.Second)
		c.leaves("dave") // and nothing came for a while
		c.want("left dave (2, 0)")
	})
}

func TestGatherer_leavesOutWhatWasUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, 10)
		c.joins("ada")
		c.want("joined ada (1, 0)")
		for range 100 {
			c.joins("bob")
			c.leaves("bob")
			c.leaves("ada")
			c.joins("ada")
		}
		after(time.Second)
		c.want()
		c.joins("bob")
		c.leaves("ada")
		c.joins("ada")
		c.leaves("ada")
		after(time.Second)
		c.want("joined bob (2, 0)", "left ada (1, 0)")
	})
}

func TestGatherer_countsWhereThereAreMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, 3)
		for _, name := range []string{"a", "b", "c"} {
			c.joins(name)
		}
		after(time.Second)
		c.want("joined a (1, 0)", "joined b, joined c (3, 0)")
		c.joins("d")
		c.want(" (4, 1)")
		c.leaves("d")
		c.joins("d")
		c.joins("e")
		c.leaves("e")
		after(time.Second)
		c.want(" (4, 4)")
		c.leaves("d")
		c.want("left d (3, 0)")
		c.leaves("c")
		c.joins("e")
		c.joins("f") // one too many within the beat
		after(time.Second)
		c.want(" (4, 3)")
	})
}

func TestGatherer_flushesBeforeAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, 2)
		c.Flush(hall(t))
		c.joins("ada")
		c.joins("bob")
		c.want("joined ada (1, 0)")
		c.Flush(hall(t))
		c.want("joined bob (2, 0)")
		c.Flush(hall(t))
		c.joins("carol") // counts do not wait for messages, nor messages for them
		c.Flush(hall(t))
		c.want()
		after(time.Second)
		c.want(" (3, 1)")
	})
}

// Whatever comes, an address has a few events a second, which get fewer with its members.
func TestGatherer_boundsEventsByBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, 500)
		const members = 5000
		listeners := 0
		for i := range members {
			c.joins(fmt.Sprint("m", i))
			after(time.Millisecond)
		}
		after(20 * time.Second)
		listed := 0
		for _, news := range c.told {
			listeners += news.Clients
			listed += len(news.Changes) * news.Clients
		}
		t.Logf("%d members in 5 s: %d events, %d told, %d entries of lists", members, len(c.told), listeners, listed)
		if len(c.told) > 20 || listeners > 60_000 || listed > 500*500 {
			t.Errorf("%d members make %d events, %d told, %d entries of lists", members, len(c.told), listeners, listed)
		}
		last := c.told[len(c.told)-1]
		if last.Clients != members {
			t.Errorf("the last event says %d clients", last.Clients)
		}
	})
	for clients, want := range map[int]time.Duration{0: 250 * time.Millisecond, 1000: time.Second, 1_000_000: 10 * time.Second} {
		if got := presence.Length(clients); got != want {
			t.Errorf("a beat of %d clients takes %s", clients, got)
		}
	}
}

func TestGatherer_mayBeUsedConcurrently(t *testing.T) {
	c := gather(t, 100)
	a := hall(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			data := bus.PresenceEvent{Kind: bus.PresenceJoined, Member: bus.Member{Client: fmt.Sprint(i)}, Clients: 8}
			text, err := json.Marshal(data)
			testkit.Check(t, err)
			for range 200 {
				c.Add(&bus.Message{To: a, Kind: bus.MessagePresence, Data: text})
				c.Flush(a)
			}
		})
	}
	all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.told) == 0 {
		t.Error("nothing was told")
	}
}
