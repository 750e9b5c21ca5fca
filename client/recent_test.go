package client //nolint:testpackage // what a client remembers is its own

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// remembering is a client that follows one channel.
func remembering() *Client {
	return &Client{
		subs: map[string]*subscription{"channels/a": {address: "channels/a"}}, seen: newRecent(), kept: map[string]*kept{}, acks: newAcks(),
	}
}

func at(epoch string, offset uint64) *publishv1.Position {
	return &publishv1.Position{Epoch: epoch, Offset: offset}
}

func message(to, id string, p *publishv1.Position) *publishv1.Message {
	return &publishv1.Message{To: to, Id: id, Position: p}
}

// repeat is the id that the server makes when it has lost what was published with a key.
func repeat(id string, later time.Duration) string {
	u := uuid.MustParse(id)
	ms := uint64(time.Now().Add(later).UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	return u.String()
}

func TestClient_knowsARepeatAfterAFork(t *testing.T) {
	first := uuid.Must(uuid.NewV7()).String()
	for _, tc := range []struct {
		name string
		id   string
		at   *publishv1.Position
		is   bool
	}{
		{"of what was lost", repeat(first, time.Second), at("e2", 2), false},
		{"of the same id", first, at("e2", 2), false},
		{"under the same epoch, after the window of its key", repeat(first, time.Second), at("e1", 3), true},
		{"long afterwards", repeat(first, time.Hour), at("e2", 2), true},
		{"another message", uuid.Must(uuid.NewV7()).String(), at("e2", 2), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, to := range []string{"channels/a", "users/ada"} { // a subscription, and an inbox
				c := remembering()
				m, again := message(to, first, at("e1", 2)), message(to, tc.id, tc.at)
				m.AckRequired, again.AckRequired = to == "users/ada", to == "users/ada"
				if !c.advance(m) || c.advance(again) != tc.is {
					t.Errorf("%s: the repeat was taken for new, or the first one for old", to)
				}
			}
		})
	}
}

func TestClient_remembersAFewOfEachAddress(t *testing.T) {
	c := remembering()
	var ids []string
	for i := range uint64(3 * keptLimit) {
		id := uuid.Must(uuid.NewV7()).String()
		ids = append(ids, id)
		if !c.advance(message("channels/a", id, at("e1", i+1))) {
			t.Fatal("a new message was taken for old")
		}
	}
	if n := len(c.kept["channels/a"].had); n != keptLimit {
		t.Errorf("%d are remembered", n)
	}
	for i, id := range ids[2*keptLimit:] {
		if c.advance(message("channels/a", id, at("e2", uint64(10_000+i)))) {
			t.Fatal("a repeat was taken for new")
		}
	}
	c.forget("channels/a")
	if len(c.kept) != 0 {
		t.Error("what was unsubscribed is remembered")
	}
}

func TestClient_positionsOfFormerEpochsAreBehind(t *testing.T) {
	c := remembering()
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	for i, step := range []struct {
		p   *publishv1.Position
		is  bool
		gap *publishv1.Position
	}{
		{p: at("e1", 1), is: true},
		{p: at("e1", 2), is: true},
		{p: at("e2", 3), is: true}, // a fork
		{p: at("e1", 2), is: false},
		{p: at("e1", 9), is: false}, // the lost end, late
		{p: at("e3", 4), is: true},
		{p: at("e2", 5), is: false},
		{gap: at("e1", 1)}, // the server goes on from there
		{p: at("e1", 2), is: true},
		{p: at("e2", 3), is: true},
		{p: at("e3", 4), is: true},
		{p: at("e2", 9), is: false},
	} {
		if step.gap != nil {
			c.jump(&publishv1.Gap{Address: "channels/a", To: step.gap})
		} else if c.advance(message("channels/a", id(), step.p)) != step.is {
			t.Errorf("step %d, %v: new is not %t", i, step.p, step.is)
		}
	}
	for i := range 3 * epochsRead {
		c.advance(message("channels/a", id(), at(fmt.Sprint("more", i), 10)))
	}
	if n := len(c.subs["channels/a"].past); n > epochsRead {
		t.Errorf("%d epochs are remembered", n)
	}
}

// A subscription is known by its address, however the caller has spelled it.
func TestClient_spellingsOfAnAddress(t *testing.T) {
	c, ctx := remembering(), t.Context()
	ctx, cancel := context.WithCancel(ctx)
	cancel() // nothing is sent
	for _, text := range []string{"users/auth0|5f/topics/a", "users/auth0%7c5f/topics/a"} {
		c.add(&subscription{address: "users/auth0%7C5f/topics/a"})
		_ = c.Unsubscribe(ctx, text)
		if c.subs["users/auth0%7C5f/topics/a"] != nil {
			t.Errorf("it is followed still after unsubscribing from %s", text)
		}
	}
}

// One id on several addresses is several messages.
func TestClient_liveMessagesOfSeveralAddresses(t *testing.T) {
	c := remembering()
	for _, to := range []string{"users/ada", "groups/admins", "broadcast"} {
		if !c.advance(message(to, "order-42-paid", nil)) {
			t.Errorf("the message to %s was taken for old", to)
		}
		if c.advance(message(to, "order-42-paid", nil)) {
			t.Errorf("the same message to %s was taken for new", to)
		}
	}
}

// Of messages without a position the newest are remembered, and no more.
func TestClient_remembersTheNewestLiveMessages(t *testing.T) {
	c := remembering()
	name := func(i int) *publishv1.Message { return message("users/ada", fmt.Sprint(i), nil) }
	for i := range 3 * recentLimit {
		if !c.advance(name(i)) {
			t.Fatalf("message %d was taken for old", i)
		}
	}
	if n := len(c.seen.ids); n != recentLimit {
		t.Errorf("%d are remembered", n)
	}
	for i := 2 * recentLimit; i < 3*recentLimit; i++ {
		if c.advance(name(i)) {
			t.Fatalf("message %d was taken for new", i)
		}
	}
	if !c.advance(name(0)) {
		t.Error("what was forgotten was taken for old")
	}
}
