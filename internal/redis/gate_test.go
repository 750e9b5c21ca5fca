package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/testkit"
)

// gate is a reading that lets somebody in, or keeps somebody out.
type gate struct {
	key, own string // the key, and its type
	try      func(ctx context.Context, s *redis.Store) error
}

// refusedAs asks whether a token of a subject is refused.
func refusedAs(subject bus.Subject, id bus.Identity) gate {
	return gate{"{system/revoked}:v:" + subject.Kind + ":" + subject.ID, "string", func(ctx context.Context, s *redis.Store) error {
		id.Issued = s.Now()
		subjects := id.Subjects()
		times, err := s.RevokedBefore(ctx, subjects)
		if err != nil {
			return err
		}
		if why := id.Refused(func(one bus.Subject) time.Time { return times[slices.Index(subjects, one)] }); why != nil {
			return why
		}
		return nil
	}}
}

// gates are all readings of Redis that decide about security. API keys and quotas are none: they are not kept there.
func gates(tb testing.TB) []gate {
	tb.Helper()
	a := address(tb, "channels/open")
	made := func() bus.Publication {
		p := publication(a)
		p.RequireChannel = true
		return p
	}
	whole := bus.Identity{Client: "c", User: "eve", Session: "s", Family: "f", TokenID: "t", OutlivesLoss: true}
	all := []gate{
		{"{token:x}", "hash", func(ctx context.Context, s *redis.Store) error { _, err := s.Token(ctx, "x"); return err }},
		{"{token:x}", "hash", func(ctx context.Context, s *redis.Store) error { return s.SaveToken(ctx, "x", []byte("v"), time.Hour) }},
		{"{family:x}", "hash", func(ctx context.Context, s *redis.Store) error { _, err := s.Family(ctx, "x"); return err }},
		{"{family:x}", "hash", func(ctx context.Context, s *redis.Store) error {
			_, err := s.Exchange(ctx, "x", bus.Exchange{Old: "a", New: "b", TTL: time.Hour, Window: time.Second})
			return err
		}},
		{"{family:x}", "hash", func(ctx context.Context, s *redis.Store) error {
			return s.SaveFamily(ctx, "x", "a", []byte("v"), time.Hour)
		}},
		{"{family:y}:a", "string", func(ctx context.Context, s *redis.Store) error { // a repeat is answered with what is kept there
			_, err := s.Exchange(ctx, "y", bus.Exchange{Old: "a", New: "c", TTL: time.Hour, Window: time.Hour})
			return err
		}},
		{"{channels/open}:c", "string", func(ctx context.Context, s *redis.Store) error { _, err := s.Channel(ctx, a); return err }},
		{"{channels/open}:c", "string", func(ctx context.Context, s *redis.Store) error {
			_, err := s.Publish(ctx, bustest.Admit(made()))
			return err
		}},
		{"{channels/open}:c", "string", func(ctx context.Context, s *redis.Store) error {
			p := made()
			p.Retention = bus.Retention{}
			_, err := s.Publish(ctx, bustest.Admit(p))
			return err
		}},
		{"{channels/open}:c", "string", func(ctx context.Context, s *redis.Store) error {
			_, err := s.SetState(ctx, bustest.AdmitState(bus.StateChange{Publication: made(), Value: []byte("{}"), TTL: time.Hour}))
			return err
		}},
		{"{channels/open}:c", "string", func(ctx context.Context, s *redis.Store) error {
			return s.DeleteState(ctx, bustest.AdmitState(bus.StateChange{Publication: made()}))
		}},
		{"{channels}", "zset", func(ctx context.Context, s *redis.Store) error {
			return s.CreateChannel(ctx, bus.Channel{Address: address(tb, "channels/another"), Created: time.Now()}, 1)
		}},
		{"{system/revoked}:m", "hash", func(ctx context.Context, s *redis.Store) error {
			return s.Revoke(ctx, bus.Subject{Kind: bus.SubjectUser, ID: "bob"}, time.Time{}, time.Hour)
		}},
		{"{system/revoked}:s", "stream", func(ctx context.Context, s *redis.Store) error {
			return s.Revoke(ctx, bus.Subject{Kind: bus.SubjectUser, ID: "bob"}, time.Time{}, time.Hour)
		}},
		{"{system/revoked}:vl", "hash", func(ctx context.Context, s *redis.Store) error {
			tops, errs := s.Tops(ctx, []bus.Address{bus.Revoked})
			if err := bus.FirstError(errs); err != nil {
				return err
			}
			return s.RevocationsSeen(ctx, bus.Position{Epoch: tops[0].Epoch, Offset: tops[0].Offset + 5})
		}},
		{"{system/revoked}:ve", "string", func(ctx context.Context, s *redis.Store) error {
			return s.RevocationsSeen(ctx, bus.Position{Epoch: "never", Offset: 5})
		}},
	}
	lost := whole
	lost.OutlivesLoss = false
	all = append(all, refusedAs(bus.Subject{Kind: bus.SubjectLost}, lost))
	for _, subject := range whole.Subjects() {
		all = append(all, refusedAs(subject, whole))
	}
	return all
}

// put makes a key of each type.
var put = map[string]func(ctx context.Context, raw *goredis.Client, key string) error{
	"string": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.Set(ctx, key, "foreign", 0).Err()
	},
	"list": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.LPush(ctx, key, "foreign").Err()
	},
	"set": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.SAdd(ctx, key, "foreign").Err()
	},
	"zset": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.ZAdd(ctx, key, goredis.Z{Member: "foreign"}).Err()
	},
	"hash": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.HSet(ctx, key, "foreign", "1").Err()
	},
	"stream": func(ctx context.Context, raw *goredis.Client, key string) error {
		return raw.XAdd(ctx, &goredis.XAddArgs{Stream: key, Values: []any{"foreign", "1"}}).Err()
	},
}

// Whatever type a key has in place of its own, nobody is let in for it, and everybody is told the same.
func TestForeign_opensNoGate(t *testing.T) {
	s, _, raw, counted, _ := dirty(t)
	ctx := t.Context()
	// The log of revocations is there, and the store knows since when it is complete.
	testkit.Check(t, s.Revoke(ctx, bus.Subject{Kind: bus.SubjectUser, ID: "somebody"}, time.Time{}, time.Hour))
	_, err := s.RevokedBefore(ctx, []bus.Subject{{Kind: bus.SubjectLost}})
	testkit.Check(t, err)
	testkit.Check(t, s.SaveFamily(ctx, "y", "a", []byte("v"), time.Hour))
	_, err = s.Exchange(ctx, "y", bus.Exchange{Old: "a", New: "b", TTL: time.Hour, Answer: []byte("x"), Window: time.Hour})
	testkit.Check(t, err)
	tried := 0
	for _, g := range gates(t) {
		key := "tl:" + g.key
		for kind, set := range put {
			if kind == g.own {
				continue
			}
			name := fmt.Sprintf("%s is a %s", g.key, kind)
			was, found := raw.Dump(ctx, key).Result()
			testkit.Check(t, raw.Del(ctx, key).Err())
			testkit.Check(t, set(ctx, raw, key))
			before := counted("key")
			if err := g.try(ctx, s); !errors.Is(err, bus.ErrStoredForeign) {
				t.Errorf("%s: %v", name, err)
			} else if counted("key") == before {
				t.Errorf("%s: it is not counted", name)
			}
			testkit.Check(t, raw.Del(ctx, key).Err())
			if found == nil {
				testkit.Check(t, raw.Restore(ctx, key, 0, was).Err())
			}
			tried++
		}
	}
	t.Logf("%d tried", tried)
}

// A revocation whose place is taken is made all the same: it keeps somebody out.
func TestForeign_isRevokedOver(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	eve := bus.Subject{Kind: bus.SubjectUser, ID: "eve"}
	for kind, set := range put {
		testkit.Check(t, raw.Del(ctx, "tl:{system/revoked}:v:user:eve").Err())
		testkit.Check(t, set(ctx, raw, "tl:{system/revoked}:v:user:eve"))
		before := s.Now().Add(-time.Second)
		// What was to be read there may have been later than what is asked for.
		testkit.Check(t, s.Revoke(ctx, eve, before.Add(-time.Hour), time.Hour))
		times, err := s.RevokedBefore(ctx, []bus.Subject{eve})
		if err != nil || times[0].Before(before) || times[0].After(before.Add(time.Minute)) {
			t.Errorf("over a %s: %v, %v", kind, times, err)
		}
	}
}

// What is written as a time, and by nobody of us, is no time.
func TestInput_ofARevocation(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	eve, lost := bus.Subject{Kind: bus.SubjectUser, ID: "eve"}, bus.Subject{Kind: bus.SubjectLost}
	for _, text := range []string{"0", "5", "00000000000000", "0999999999999", "01000000000000", "253402300800000", "99999999999999999999", " 1700000000000", "1700000000000\n"} {
		before := s.Now().Add(-time.Second)
		for _, subject := range []bus.Subject{eve, lost} {
			testkit.Check(t, raw.Set(ctx, "tl:{system/revoked}:v:"+subject.Kind+":"+subject.ID, text, 0).Err())
			times, err := s.RevokedBefore(ctx, []bus.Subject{subject})
			if err != nil || times[0].Before(before) || times[0].Year() > 9999 {
				t.Errorf("%q of %s: %v, %v", text, subject.Kind, times, err)
			}
		}
	}
}

// A record that we did not write makes no channel, for whoever asks and whoever sends.
func TestInput_ofAChannelRecord(t *testing.T) {
	s, raw := soiled(t)
	ctx := t.Context()
	a := address(t, "channels/open")
	p := publication(a)
	p.RequireChannel = true
	for _, text := range []string{"", "x", "null", "[]", "1", `"x"`, "{}", "{", `{"token":"x"}`} {
		testkit.Check(t, raw.Set(ctx, "tl:{channels/open}:c", text, 0).Err())
		if c, err := s.Channel(ctx, a); !errors.Is(err, bus.ErrChannelNotFound) {
			t.Errorf("%q is %+v, %v", text, c, err)
		}
		if _, err := s.Publish(ctx, bustest.Admit(p)); !errors.Is(err, bus.ErrChannelNotFound) {
			t.Errorf("%q is sent to: %v", text, err)
		}
		if err := s.DeleteState(ctx, bustest.AdmitState(bus.StateChange{Publication: p})); !errors.Is(err, bus.ErrChannelNotFound) {
			t.Errorf("the state of %q is removed: %v", text, err)
		}
	}
	testkit.Check(t, raw.Del(ctx, "tl:{channels/open}:c").Err())
	testkit.Check(t, s.CreateChannel(ctx, bus.Channel{Address: a, Created: time.Now(), TokenDigest: "x"}, 0))
	if _, err := s.Publish(ctx, bustest.Admit(p)); err != nil {
		t.Error(err)
	}
}

// blind are the commands that read a key of another type as nothing, or as something, and where they are right.
var blind = map[string]map[string]string{
	"mget": {},
	"exists": {
		"census.go": "whatever is there is kept", "lua/count.lua": "a sketch that is read right after it",
		"lua/beat.lua": "a truce that is there", "lua/roster_touch.lua": "whether a roster is there", "lua/take_run.lua": "whether a hash may be renamed", "lua/watch.lua": "a hash that has just been read",
	},
}

// Where a command would not see that a key is of another type, another one is used.
func TestForeign_isSeenByEveryCommand(t *testing.T) {
	files, err := filepath.Glob("*.go")
	testkit.Check(t, err)
	scripts, err := filepath.Glob("lua/*.lua")
	testkit.Check(t, err)
	for _, name := range append(files, scripts...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		testkit.Check(t, err)
		for command, right := range blind {
			// A command of go-redis has a context in front, and one of a script has call(.
			used := regexp.MustCompile(`(?i)(\w*Cmd\(ctx, |append\(args, |call\()["']` + command + `["']`).Match(text)
			if _, ok := right[name]; used != ok {
				t.Errorf("%s: uses %s: %v, and may: %v", name, command, used, ok)
			}
		}
	}
}
