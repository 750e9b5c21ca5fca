package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/testkit"
)

// soiled is dirty for tests that count nothing.
func soiled(tb testing.TB) (*redis.Store, *goredis.Client) {
	tb.Helper()
	s, _, raw, _, _ := dirty(tb) //nolint:dogsled // the one place
	return s, raw
}

// spoil puts a value of another type in the place of a key.
func spoil(tb testing.TB, raw *goredis.Client, key string) {
	tb.Helper()
	was, err := raw.Type(tb.Context(), key).Result()
	testkit.Check(tb, err)
	testkit.Check(tb, raw.Del(tb.Context(), key).Err())
	if was == "list" {
		testkit.Check(tb, raw.Set(tb.Context(), key, "foreign", 0).Err())
		return
	}
	testkit.Check(tb, raw.LPush(tb.Context(), key, "foreign").Err())
}

// A key of another type is refused for good, for what it is of, and the log names it. What is beside it is served.
func TestForeign_refusesForGood(t *testing.T) {
	s, _, raw, counted, _ := dirty(t)
	a, u := address(t, "channels/spoilt"), address(t, "users/spoilt")
	state := bus.StateChange{Publication: publication(a), Value: []byte("{}"), TTL: time.Hour}
	member := bus.Member{Connection: "m", Client: "m", Node: "n", Joined: time.Now()}
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "n"}))
	for _, row := range []struct {
		key string
		try func(ctx context.Context) error
	}{
		{"{channels/spoilt}:s", func(ctx context.Context) error {
			_, err := s.Publish(ctx, bustest.Admit(publication(a)))
			return err
		}},
		{"{channels/spoilt}:s", func(ctx context.Context) error { _, err := s.Since(ctx, a, keep, bus.Position{}, 10); return err }},
		{"{channels/spoilt}:m", func(ctx context.Context) error {
			_, err := s.Publish(ctx, bustest.Admit(publication(a)))
			return err
		}},
		{"{channels/spoilt}:m", func(ctx context.Context) error { _, err := s.Since(ctx, a, keep, bus.Position{}, 10); return err }},
		{"{channels/spoilt}:m", func(ctx context.Context) error { _, errs := s.Tops(ctx, []bus.Address{a}); return bus.FirstError(errs) }},
		{"{channels/spoilt}:c", func(ctx context.Context) error { _, err := s.Channel(ctx, a); return err }},
		{"{channels/spoilt}:j", func(ctx context.Context) error { _, err := s.State(ctx, a); return err }},
		{"{channels/spoilt}:j", func(ctx context.Context) error { _, err := s.SetState(ctx, bustest.AdmitState(state)); return err }},
		{"{channels/spoilt}:r", func(ctx context.Context) error { return s.Join(ctx, a, member) }},
		{"{channels/spoilt}:rz", func(ctx context.Context) error { _, err := s.Members(ctx, a, "", 10); return err }},
		{"{channels/spoilt}:rc", func(ctx context.Context) error { _, err := s.Listed(ctx, a, "m"); return err }},
		{"{channels/spoilt}:rn:n", func(ctx context.Context) error { return s.Join(ctx, a, member) }},
		{"{users/spoilt}:s", func(ctx context.Context) error { _, err := s.Publish(ctx, bustest.Admit(asks(u))); return err }},
		{"{users/spoilt}:s", func(ctx context.Context) error {
			_, err := s.Pending(ctx, u, bus.PendingQuery{Device: "d", Limit: 1})
			return err
		}},
		{"{users/spoilt}:s", func(ctx context.Context) error { _, err := s.InboxStats(ctx, u); return err }},
		{"{users/spoilt}:a", func(ctx context.Context) error { _, err := s.InboxStats(ctx, u); return err }},
		{"{users/spoilt}:k:id", func(ctx context.Context) error { _, err := s.Delivery(ctx, u, "id", false); return err }},
		{"{users/spoilt}:k:id", func(ctx context.Context) error {
			return bus.FirstError(s.Ack(ctx, []bus.Ack{{To: u, ID: "id", Device: "d"}}))
		}},
		{"{cursor:hook}", func(ctx context.Context) error { _, _, err := s.Claim(ctx, "hook", "me", time.Minute); return err }},
		{"{token:x}", func(ctx context.Context) error { _, err := s.Token(ctx, "x"); return err }},
		{"{family:x}", func(ctx context.Context) error { _, err := s.Family(ctx, "x"); return err }},
		{"{all}:b", func(ctx context.Context) error {
			_, errs := s.Tops(ctx, []bus.Address{address(t, "channels/never")})
			return bus.FirstError(errs)
		}},
		{"{channels}", func(ctx context.Context) error { _, err := s.ListChannels(ctx, "", 10); return err }},
		{"{nodes}", func(ctx context.Context) error { return s.Beat(ctx, bus.Node{Life: "n"}) }},
	} {
		before := counted("key")
		// What has a log already does not begin another.
		_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
		testkit.Check(t, err)
		_, err = s.Publish(t.Context(), bustest.Admit(asks(u)))
		testkit.Check(t, err)
		spoil(t, raw, "tl:"+row.key)
		err = row.try(t.Context())
		testkit.Check(t, raw.Del(t.Context(), "tl:"+row.key).Err())
		if !errors.Is(err, bus.ErrStoredForeign) {
			t.Errorf("%s: %v", row.key, err)
			continue
		}
		if told := err.Error(); strings.Contains(told, "tl:") || strings.Contains(told, "WRONGTYPE") {
			t.Errorf("%s: the wire tells %s", row.key, told)
		}
		if counted("key") == before {
			t.Errorf("%s is not counted", row.key)
		}
		if _, err := s.Publish(t.Context(), bustest.Admit(publication(address(t, "channels/beside")))); err != nil {
			t.Errorf("beside %s: %v", row.key, err)
		}
	}
}

// The log names the key, and says what it is.
func TestForeign_isNamedInTheLog(t *testing.T) {
	s, _, raw, _, log := dirty(t)
	a := address(t, "channels/spoilt")
	_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
	testkit.Check(t, err)
	spoil(t, raw, "tl:{channels/spoilt}:s")
	for range 3 {
		if _, err := s.Since(t.Context(), a, keep, bus.Position{}, 10); !errors.Is(err, bus.ErrStoredForeign) {
			t.Errorf("%v", err)
		}
	}
	testkit.Eventually(t, "the log names the key", func() bool { return log.count("tl:{channels/spoilt}:s is a list, not a stream") == 1 })
	if n := log.count("not ours"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// A roster that cannot be reaped or touched keeps nobody else's members.
func TestForeign_leavesOtherRosters(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	spoilt, garbled, sound := address(t, "channels/spoilt"), address(t, "channels/garbled"), address(t, "channels/sound")
	all := []bus.Address{spoilt, garbled, sound}
	gone := time.Now().Add(-time.Hour)
	for _, a := range all {
		for _, c := range []string{"m", "n"} {
			testkit.Check(t, s.Join(ctx, a, bus.Member{Connection: c, Client: c, Node: "dead", Joined: time.Now()}))
		}
		testkit.Check(t, s.Lose(ctx, a, "m", gone, time.Second))
	}
	spoil(t, raw, "tl:{channels/spoilt}:r")
	testkit.Check(t, raw.HSet(ctx, "tl:{channels/garbled}:r", "m", "1 {", "n", "0 [1]").Err())
	missing, err := s.Touch(ctx, "dead", all)
	if err != nil || len(missing) != 0 {
		t.Errorf("touched: %v, %v", missing, err)
	}
	lost := func(a bus.Address) int64 { return raw.ZCard(ctx, "tl:{"+a.String()+"}:rl").Val() }
	testkit.Eventually(t, "the lost members leave", func() bool {
		_, err := s.Reap(ctx, time.Hour)
		testkit.Check(t, err)
		return lost(garbled) == 0 && lost(sound) == 0
	})
	testkit.Check(t, raw.ZAdd(ctx, "tl:{nodes}:heard", goredis.Z{Member: "dead", Score: float64(gone.UnixMilli())}).Err())
	testkit.Check(t, raw.ZAdd(ctx, "tl:{nodes}:heard", goredis.Z{Member: "garbage", Score: math.Inf(1)}).Err())
	testkit.Check(t, s.Beat(ctx, bus.Node{Life: "living"}))
	testkit.Check(t, raw.Set(ctx, "tl:{nodes}:truce", "9007199254740000", 0).Err())
	testkit.Eventually(t, "the members of the dead node leave", func() bool {
		_, err := s.Reap(ctx, time.Minute)
		testkit.Check(t, err)
		return raw.HLen(ctx, "tl:{channels/sound}:r").Val() == 0 && raw.HLen(ctx, "tl:{channels/garbled}:r").Val() == 0
	})
}

// A log whose newest offset is none keeps its entries. What follows has another epoch, so that nobody resumes there by mistake.
func TestInput_ofAnOffset(t *testing.T) {
	for _, offset := range []string{"x", "-1", "1.5", "", "\xff", "1e3", "99999999999999999999", "9007199254740993"} {
		t.Run(offset, func(t *testing.T) {
			s, _, raw, counted, _ := dirty(t)
			ctx := t.Context()
			for _, name := range []string{"channels/log", "users/ada"} {
				a := address(t, name)
				made := publication
				if name == "users/ada" {
					made = asks
				}
				first, err := s.Publish(ctx, bustest.Admit(made(a)))
				testkit.Check(t, err)
				testkit.Check(t, raw.HSet(ctx, "tl:{"+name+"}:m", "o", offset).Err())
				tops, errs := s.Tops(ctx, []bus.Address{a})
				if bus.FirstError(errs) != nil || tops[0].Offset != 1 {
					t.Errorf("%s, tops: %v, %v", name, tops, errs)
				}
				read := func() []string {
					var ids []string
					if name == "users/ada" {
						page, err := s.Pending(ctx, a, bus.PendingQuery{Device: "d", Limit: 10})
						testkit.Check(t, err)
						for _, m := range page.Messages {
							ids = append(ids, m.ID)
						}
						return ids
					}
					page, err := s.Since(ctx, a, keep, bus.Position{}, 10)
					testkit.Check(t, err)
					for _, m := range page.Messages {
						ids = append(ids, m.ID)
					}
					return ids
				}
				if got := read(); len(got) != 1 || got[0] != first.ID {
					t.Errorf("%s: read %v", name, got)
				}
				second, err := s.Publish(ctx, bustest.Admit(made(a)))
				if err != nil || second.Position.Offset != 2 || second.Position.Epoch == first.Position.Epoch {
					t.Errorf("%s: %+v after %+v, %v", name, second, first, err)
				}
				if got := read(); len(got) != 2 || got[0] != first.ID || got[1] != second.ID {
					t.Errorf("%s: read %v", name, got)
				}
			}
			if counted("position") == 0 {
				t.Error("it is not counted")
			}
		})
	}
}

// A garbled place of a webhook is behind everything that is kept, and a garbled lease keeps nobody from the place.
func TestInput_ofACursor(t *testing.T) {
	s, _, raw, counted, _ := dirty(t)
	ctx := t.Context()
	for _, row := range [][]any{
		{"e", "epoch", "n", "x"},
		{"e", "epoch", "n", "-1"},
		{"e", "a b", "n", "5"},
		{"e", "\xff", "n", "5"},
		{"e", strings.Repeat("e", 1000), "n", "5"},
		{"n", "5"},
	} {
		before := counted("cursor")
		testkit.Check(t, raw.Del(ctx, "tl:{cursor:hook}").Err())
		testkit.Check(t, raw.HSet(ctx, "tl:{cursor:hook}", row...).Err())
		at, held, err := s.Claim(ctx, "hook", "me", time.Minute)
		if err != nil || !held || at.IsZero() || at.Epoch == "epoch" || counted("cursor") == before {
			t.Errorf("%q: %v, %v, %v", row, at, held, err)
		}
		if _, err := s.Since(ctx, bus.EventLog, bustest.Events, at, 10); !errors.Is(err, bus.ErrGap) {
			t.Errorf("%q is a position: %v", row, err)
		}
	}
	for _, until := range []string{"x", "", "-1", "\xff", "9007199254740000", "99999999999999999999"} {
		testkit.Check(t, raw.HSet(ctx, "tl:{cursor:hook}", "o", "another", "u", until, "e", "epoch", "n", "5").Err())
		if at, held, err := s.Claim(ctx, "hook", "me", time.Minute); err != nil || !held || at != (bus.Position{Epoch: "epoch", Offset: 5}) {
			t.Errorf("until %q: %v, %v, %v", until, at, held, err)
		}
	}
}

// An idempotency key with what is no answer counts as unused.
func TestInput_ofAnIdempotencyKey(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	for _, name := range []string{"channels/log", "channels/live", "users/ada"} {
		a := address(t, name)
		keyed := func() bus.Publication {
			p := publication(a)
			switch name {
			case "channels/live":
				p.Retention = bus.Retention{}
			case "users/ada":
				p = asks(a)
			}
			p.IdempotencyKey, p.Digest, p.Window = "k", "digest", time.Hour
			return p
		}
		_, err := s.Publish(ctx, bustest.Admit(keyed()))
		testkit.Check(t, err)
		keys, err := raw.Keys(ctx, "tl:{"+name+"}:i:*").Result()
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		good := raw.HGetAll(ctx, keys[0]).Val()
		for field, values := range map[string][]string{
			"e": {"x", "\xff", "a b", strings.Repeat("e", 1000)}, "o": {"x", "-1", "1.5", "\xff", "99999999999999999999"},
			"t": {"x", "-1", "300000000000000"}, "i": {"", "\xff", "a\nb", strings.Repeat("i", 10_000)}, "g": {"x", "\xff"},
		} {
			for _, value := range values {
				testkit.Check(t, raw.Del(ctx, keys[0]).Err())
				testkit.Check(t, raw.HSet(ctx, keys[0], good).Err())
				testkit.Check(t, raw.HSet(ctx, keys[0], field, value).Err())
				got, err := s.Publish(ctx, bustest.Admit(keyed()))
				if err != nil || got.ID == "" || !utf8.ValidString(got.ID) || len(got.ID) > 100 || got.Published.Year() > 9999 || !utf8.ValidString(got.Position.Epoch) {
					t.Errorf("%s, %s %.20q: %.200q, %v", name, field, value, fmt.Sprint(got), err)
				}
			}
		}
		spoil(t, raw, keys[0])
		if _, err := s.Publish(ctx, bustest.Admit(keyed())); !errors.Is(err, bus.ErrStoredForeign) {
			t.Errorf("%s: another type: %v", name, err)
		}
		if _, err := s.Publish(ctx, bustest.Admit(publication(a))); name != "users/ada" && err != nil {
			t.Errorf("%s without a key: %v", name, err)
		}
	}
}

// What is beside an inbox, and is none of its entries, keeps no message out.
func TestInput_besideAnInbox(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	a := address(t, "users/ada")
	p := asks(a)
	p.Ack.CollapseKey = "c"
	_, err := s.Publish(ctx, bustest.Admit(p))
	testkit.Check(t, err)
	for range 3 {
		testkit.Check(t, raw.ZAdd(ctx, "tl:{users/ada}:a", goredis.Z{Member: "x"}, goredis.Z{Member: "\xff"}, goredis.Z{Member: "1-x"}).Err())
		testkit.Check(t, raw.HSet(ctx, "tl:{users/ada}:k:"+p.Message.ID, "e", "garbage").Err())
		p = asks(a)
		p.Ack.CollapseKey = "c"
		if _, err := s.Publish(ctx, bustest.Admit(p)); err != nil {
			t.Error(err)
		}
	}
	if n := raw.ZCard(ctx, "tl:{users/ada}:a").Val(); n != 0 {
		t.Errorf("%d members of garbage are left", n)
	}
	testkit.Check(t, raw.HSet(ctx, "tl:{users/ada}:k:"+p.Message.ID, "e", "garbage").Err())
	if errs := s.Ack(ctx, []bus.Ack{{To: a, ID: p.Message.ID, Device: "d"}}); bus.FirstError(errs) != nil {
		t.Error(errs)
	}
}

// A reaper drops noted events and open connections that it cannot read. What is beside them is told.
func TestInput_ofWhatIsNoted(t *testing.T) {
	s, _, raw, counted, _ := dirty(t)
	ctx := t.Context()
	a := address(t, "channels/hall")
	for _, text := range []string{"x", "", "[]", "null", `{"id":""}`, `{"id":"a\u0000"}`, `{"id":"x","at":300000000000000}`, `{"id":"x","at":-1}`, "\xff", strings.Repeat("[", 100_000)} {
		testkit.Check(t, raw.RPush(ctx, "tl:{channels/hall}:ru", text).Err())
	}
	testkit.Check(t, s.Join(ctx, a, bus.Member{Connection: "m", Client: "m", Node: "n", Joined: time.Now()}))
	if n := raw.LLen(ctx, "tl:{channels/hall}:ru").Val(); n != 0 || counted("event") < 9 {
		t.Errorf("%d events are left, and %d counted", n, counted("event"))
	}
	for i, text := range []string{"x", "", "[]", "null", "{}", `{"id":"x","at":300000000000000}`, `{"ID":"x","Millis":-1}`, "\xff"} {
		testkit.Check(t, raw.HSet(ctx, "tl:{connections:dead}", fmt.Sprint(i), text).Err())
	}
	testkit.Check(t, s.Opened(ctx, "dead", []bus.Connection{{ID: "good", Client: "c", Millis: time.Now().UnixMilli()}}))
	spoil(t, raw, "tl:{connections:spoilt}")
	for _, run := range []string{"dead", "spoilt", "\xff"} {
		testkit.Check(t, raw.ZAdd(ctx, "tl:{connections}", goredis.Z{Member: run, Score: float64(time.Now().Add(-time.Hour).UnixMilli())}).Err())
	}
	testkit.Eventually(t, "the connections are told to have ended", func() bool {
		_, err := s.Reap(ctx, time.Minute)
		testkit.Check(t, err)
		return raw.Exists(ctx, "tl:{connections:dead}:dead", "tl:{connections:dead}").Val() == 0
	})
	page, err := s.Since(ctx, bus.EventLog, bustest.Events, bus.Position{}, 100)
	testkit.Check(t, err)
	told := 0
	for _, m := range page.Messages {
		clean(t, m)
		if strings.Contains(string(m.Data), "good") {
			told++
		}
	}
	if told != 1 || counted("connection") < 7 {
		t.Errorf("%d were told, and %d counted", told, counted("connection"))
	}
}
