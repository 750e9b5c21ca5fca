package redis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// FuzzStored writes any texts into the keys of a real server, in the places of ours, and reads them by every verb. What comes of it can
// be told to a client or is a refusal; and what stands beside it is read as before.
func FuzzStored(f *testing.F) {
	s, _, raw, _, _ := dirty(f) //nolint:dogsled // the rest is for tests that count //nolint:dogsled // it counts and logs, which only other tests read
	a, beside := address(f, "channels/fuzz"), address(f, "channels/beside")
	p := publication(beside)
	_, err := s.Publish(f.Context(), bustest.Admit(p))
	testkit.Check(f, err)
	owner := bus.ValueCommand{Verb: bus.ValueGet, Owner: "fuzz", Keys: []string{"k"}}
	f.Fuzz(func(t *testing.T, x, y, z string) {
		ctx := t.Context()
		keys := []string{
			"tl:{channels/fuzz}:m", "tl:{channels/fuzz}:s", "tl:{channels/fuzz}:j", "tl:{channels/fuzz}:c", "tl:{channels/fuzz}:r", "tl:{channels/fuzz}:rz",
			"tl:{channels/fuzz}:ru", "tl:{channels/fuzz}:l", "tl:{cursor:fuzz}", "tl:{nodes}", "tl:{connections:fuzz}", "tl:{channels}",
		}
		for _, key := range keys {
			testkit.Check(t, raw.Del(ctx, key).Err())
		}
		pipe := raw.Pipeline()
		pipe.HSet(ctx, keys[0], "e", x, "o", y, "p", z)
		pipe.XAdd(ctx, &goredis.XAddArgs{Stream: keys[1], ID: "1-1", Values: []any{"m", x}})
		pipe.XAdd(ctx, &goredis.XAddArgs{Stream: keys[1], ID: "7-1700000000000", Values: []any{"m", y, "x", z}})
		pipe.HSet(ctx, keys[2], "v", x, "r", y, "t", z)
		pipe.Set(ctx, keys[3], x, 0)
		pipe.HSet(ctx, keys[4], x, y)
		pipe.ZAdd(ctx, keys[5], goredis.Z{Member: x})
		pipe.RPush(ctx, keys[6], x, y, z)
		pipe.Set(ctx, keys[7], x+"\n"+y, 0)
		pipe.HSet(ctx, keys[8], "e", x, "n", y, "o", z, "u", y)
		pipe.HSet(ctx, keys[9], x, y)
		pipe.HSet(ctx, keys[10], x, y, "b", z)
		pipe.ZAdd(ctx, keys[11], goredis.Z{Member: x}, goredis.Z{Member: "channels/fuzz"})
		_, err := pipe.Exec(ctx)
		testkit.Check(t, err)
		readAll(t, s, a, owner)
		page, err := s.Since(ctx, beside, p.Retention, bus.Position{}, 10)
		if err != nil || len(page.Messages) != 1 || page.Messages[0].ID != p.Message.ID {
			t.Errorf("what stands beside it reads %+v, %v", page, err)
		}
	})
}

// verbs are how a store is read.
type verbs interface {
	bus.Log
	bus.Roster
	bus.Cursors
	State(ctx context.Context, a bus.Address) (bus.State, error)
	Nodes(ctx context.Context) ([]bus.Node, error)
	Channel(ctx context.Context, a bus.Address) (bus.Channel, error)
	ListChannels(ctx context.Context, after string, limit int) (bus.ChannelPage, error)
	Command(ctx context.Context, c bus.ValueCommand) (bus.ValueResult, error)
}

func readAll(t *testing.T, s verbs, a bus.Address, owner bus.ValueCommand) {
	t.Helper()
	ctx := t.Context()
	refused := func(verb string, err error) {
		if e, ok := errors.AsType[*bus.Error](err); err != nil && (!ok || e.Reason == bus.ErrInternal.Reason) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	at := func(verb string, p bus.Position) {
		if len(p.Epoch) > 64 {
			t.Errorf("%s: an epoch is %.100q", verb, p.Epoch)
		}
	}
	page, err := s.Since(ctx, a, bus.Retention{Length: 100, Age: time.Hour}, bus.Position{}, 10)
	refused("since", err)
	at("since", page.Top)
	for _, m := range page.Messages {
		clean(t, m)
	}
	page, err = s.Latest(ctx, a, bus.Retention{Length: 100, Age: time.Hour}, 0, 10)
	refused("latest", err)
	for _, m := range page.Messages {
		clean(t, m)
	}
	tops, errs := s.Tops(ctx, []bus.Address{a})
	refused("tops", errors.Join(errs...))
	at("tops", tops[0])
	state, err := s.State(ctx, a)
	refused("state", err)
	nodes, err := s.Nodes(ctx)
	refused("nodes", err)
	channel, err := s.Channel(ctx, a)
	refused("channel", err)
	listed, err := s.ListChannels(ctx, "", 10)
	refused("channels", err)
	members, err := s.Members(ctx, a, "", 10)
	refused("members", err)
	times := []time.Time{state.Updated, channel.Created}
	for _, n := range nodes {
		times = append(times, n.Started)
	}
	for _, c := range listed.Channels {
		times = append(times, c.Created)
	}
	for _, m := range members.Members {
		times = append(times, m.Joined)
	}
	for _, when := range times {
		if !bus.InTime(when) {
			t.Errorf("a time is %v", when)
		}
	}
	place, _, err := s.Claim(ctx, "fuzz", "me", time.Minute)
	refused("claim", err)
	at("claim", place)
	_, err = s.Command(ctx, owner)
	refused("command", err)
	refused("join", s.Join(ctx, a, bus.Member{Connection: "m", Client: "m", Node: "n", Joined: time.Now()}))
}
