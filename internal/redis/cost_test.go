package redis_test

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// items is how many there are of each kind; MEASURE=100000 measures what docs/sizing.md says.
func items(tb testing.TB) int {
	tb.Helper()
	n, err := strconv.Atoi(os.Getenv("MEASURE"))
	if err != nil {
		return 4000
	}
	return n
}

// used is how much memory a server takes.
func used(tb testing.TB, server *redistest.Server) int {
	tb.Helper()
	out, err := server.CLI("info", "memory")
	testkit.Check(tb, err)
	_, rest, _ := strings.Cut(out, "used_memory:")
	all, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	testkit.Check(tb, err)
	return all
}

func waiting(p bus.Publication) bus.Publication {
	p.Retention, p.Ack = bus.Retention{}, &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Minute, Keep: 168 * time.Hour, Limit: 10000}
	return p
}

// What one small item of each kind costs in Redis, all of its keys counted.
func TestStore_costsLittle(t *testing.T) {
	small := func(a bus.Address) bus.Publication {
		p := publication(a)
		p.Message.Data, p.Message.ID = []byte("{}"), uuid.NewString()
		p.Retention = bus.Retention{Length: 100, Age: 10 * time.Minute}
		return p
	}
	for _, c := range []struct {
		name string
		most int // bytes
		make func(i int) bus.Publication
	}{
		{"a message of a channel", 900, func(i int) bus.Publication { return small(address(t, fmt.Sprintf("channels/demo:x%d", i))) }},
		{"one of 100 messages of a channel", 400, func(i int) bus.Publication {
			p := small(address(t, fmt.Sprintf("channels/demo:x%d", i/100)))
			p.Message.Data = []byte(strings.Repeat("x", 128))
			return p
		}},
		{"a message of a topic", 900, func(i int) bus.Publication { return small(address(t, fmt.Sprintf("channels/demo/topics/x%d", i))) }},
		{"a message that is retained", 1300, func(i int) bus.Publication {
			p := small(address(t, fmt.Sprintf("channels/demo:x%d", i)))
			p.Retain = time.Hour
			return p
		}},
		{"a message in an inbox", 1020, func(i int) bus.Publication { return waiting(small(address(t, fmt.Sprintf("users/x%d", i)))) }},
		{"one of 100 messages in an inbox", 600, func(i int) bus.Publication {
			return waiting(small(address(t, fmt.Sprintf("users/x%d", i/100))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t)
			s := open(t, server.URL())
			publish := func(from, to int) {
				var ps []bus.Publication
				for i := from; i < to; i++ {
					ps = append(ps, c.make(i))
				}
				_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(ps...))
				testkit.Check(t, bus.FirstError(errs))
			}
			publish(0, 1) // scripts and connections are there from here on
			before, n := used(t, server), items(t)
			for i := 1; i <= n; i += 500 {
				publish(i, min(i+500, n+1))
			}
			each := (used(t, server) - before) / n
			t.Logf("%d bytes each", each)
			if each > c.most {
				t.Errorf("%d bytes each, at most %d", each, c.most)
			}
		})
	}
	t.Run("a state", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, server.URL())
		set := func(from, to int) {
			for i := from; i < to; i++ {
				c := bus.StateChange{Publication: small(address(t, fmt.Sprintf("channels/demo:x%d", i))), Value: []byte("{}"), TTL: 720 * time.Hour}
				_, err := s.SetState(t.Context(), bustest.AdmitState(c))
				testkit.Check(t, err)
			}
		}
		set(0, 1)
		before, n := used(t, server), min(items(t), 10000)
		set(1, n+1)
		each := (used(t, server) - before) / n
		t.Logf("%d bytes each", each)
		if each > 1200 {
			t.Errorf("%d bytes each", each)
		}
	})
}

// Whoever follows or reads a name that nobody has used leaves nothing behind.
func TestStore_keepsNothingOfWhatIsOnlyRead(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	size := func() string {
		out, err := server.CLI("dbsize")
		testkit.Check(t, err)
		return strings.TrimSpace(out)
	}
	read := func(i int) {
		a, own := address(t, fmt.Sprintf("channels/unused%d", i)), address(t, fmt.Sprintf("users/unused%d", i))
		_, f := follow(t, s, a)
		testkit.Check(t, f.Subscribe(t.Context(), own))
		for _, a := range []bus.Address{a, own} {
			_, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
			testkit.Check(t, err)
			_, err = s.Latest(t.Context(), a, keep, 0, 10)
			testkit.Check(t, err)
			_, errs := s.Tops(t.Context(), []bus.Address{a})
			testkit.Check(t, bus.FirstError(errs))
			_, err = s.Pending(t.Context(), a, bus.PendingQuery{Device: "d", Limit: 10})
			testkit.Check(t, err)
			_, err = s.State(t.Context(), a)
			testkit.Check(t, err)
			_, err = s.Members(t.Context(), a, "", 10)
			testkit.Check(t, err)
			_, err = f.Retained(t.Context(), a, "m")
			testkit.Check(t, err)
		}
	}
	read(0) // the beginning, which all names share
	before := size()
	for i := 1; i < 20; i++ {
		read(i)
	}
	if after := size(); after != before {
		t.Errorf("%s keys, then %s", before, after)
	}
}

// A user that may neither dump nor restore, and a message that needs what is reserved, get logs as Redis makes them.
func TestStore_appendsWhereNothingIsGivenBack(t *testing.T) {
	server := redistest.Start(t)
	cli(t, server, "acl", "setuser", "plain", "on", ">secret", "~*", "&*", "+@all", "-dump", "-restore")
	s, err := redis.Open(redis.Config{URL: strings.Replace(server.URL(), "://", "://plain:secret@", 1)}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	for name, size := range map[string]int{"small": 2, "large": 60000} {
		a := address(t, "channels/"+name)
		r, _ := follow(t, s, a)
		for range 3 {
			p := publication(a)
			p.Message.Data = []byte(strings.Repeat("x", size))
			_, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			if m := <-r.messages; m.ID != p.Message.ID {
				t.Errorf("another message arrived: %+v", m)
			}
		}
		page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
		if err != nil || len(page.Messages) != 3 {
			t.Errorf("%d messages, %v", len(page.Messages), err)
		}
	}
}
