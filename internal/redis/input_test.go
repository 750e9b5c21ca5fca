package redis_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/gen/go/trunkline/wire/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// bad are envelopes that nobody may be given.
func bad(tb testing.TB) map[string]string {
	tb.Helper()
	const now = 1_764_280_000_000
	all := map[string]string{
		"nothing": "", "text": "hello", "JSON": `{"id":"x"}`, "a tag alone": "\x0a", "a length too long": "\x0a\xff\x01x", "NUL": "\x00\x00\x00", "a group": "\x0b",
	}
	for name, change := range map[string]func(*wirev1.Envelope){
		"no id":                    func(e *wirev1.Envelope) { e.Id = "" },
		"an id with a line":        func(e *wirev1.Envelope) { e.Id = "a\nb" },
		"a long id":                func(e *wirev1.Envelope) { e.Id = strings.Repeat("i", 1000) },
		"no content type":          func(e *wirev1.Envelope) { e.ContentType = 0 },
		"an unknown content type":  func(e *wirev1.Envelope) { e.ContentType = 9 },
		"a large content type":     func(e *wirev1.Envelope) { e.ContentType = 1 << 20 },
		"an unknown kind":          func(e *wirev1.Envelope) { e.Kind = 77 },
		"a mark":                   func(e *wirev1.Envelope) { e.Kind = 5 },
		"a large kind":             func(e *wirev1.Envelope) { e.Kind = 256 },
		"an unknown scope":         func(e *wirev1.Envelope) { e.AckScope = 7 },
		"JSON that is none":        func(e *wirev1.Envelope) { e.Data = []byte(`1,"from":{"user":"admin"}`) },
		"JSON that ends":           func(e *wirev1.Envelope) { e.Data = []byte(`{"a":`) },
		"JSON that is not UTF-8":   func(e *wirev1.Envelope) { e.Data = []byte("\"\xff\"") },
		"two values":               func(e *wirev1.Envelope) { e.Data = []byte("1 2") },
		"text that is not UTF-8":   func(e *wirev1.Envelope) { e.ContentType, e.Data = 2, []byte("\xff\xfe") },
		"a large payload":          func(e *wirev1.Envelope) { e.Data = []byte(`"` + strings.Repeat("x", 200_000) + `"`) },
		"a user with a NUL":        func(e *wirev1.Envelope) { e.FromUser = "a\x00b" },
		"a long client":            func(e *wirev1.Envelope) { e.FromClient = strings.Repeat("c", 1000) },
		"a recipient with a line":  func(e *wirev1.Envelope) { e.Recipients = []string{"a", "b\n"} },
		"an exclusion with a NUL":  func(e *wirev1.Envelope) { e.ExcludeClient = "\x00" },
		"an attribute with a line": func(e *wirev1.Envelope) { e.Attributes = map[string]string{"a\n": "b"} },
		"a time after all":         func(e *wirev1.Envelope) { e.PublishTimeMs = 300_000_000_000_000 },
		"a time before all":        func(e *wirev1.Envelope) { e.PublishTimeMs = -1 },
	} {
		e := &wirev1.Envelope{Id: "forged", Data: []byte(`"forged"`), ContentType: 1, PublishTimeMs: now}
		change(e)
		b, err := proto.Marshal(e)
		testkit.Check(tb, err)
		all[name] = string(b)
	}
	// Strings that are no UTF-8, which the library refuses to write.
	for name, field := range map[string]int{"an id that is not UTF-8": 1, "a client that is not UTF-8": 6, "a user that is not UTF-8": 7, "a recipient that is not UTF-8": 8} {
		e := &wirev1.Envelope{Id: "forged", Data: []byte(`"forged"`), ContentType: 1, PublishTimeMs: now}
		b, err := proto.Marshal(e)
		testkit.Check(tb, err)
		all[name] = string(b) + string([]byte{byte(field<<3 | 2), 2, 0xff, 0xfe})
	}
	return all
}

// dirty is a store with a limit of 100,000 bytes, its server, and what it counts.
func dirty(tb testing.TB) (*redis.Store, *redistest.Server, *goredis.Client, func(kind string) int, *said) {
	tb.Helper()
	server, reg, log := redistest.Start(tb), prometheus.NewRegistry(), new(said)
	s, err := redis.Open(redis.Config{
		URL: server.URL(), MaxMessage: 100_000, Events: bustest.Events, Metrics: reg,
	}, slog.New(slog.NewTextHandler(log, nil)))
	testkit.Check(tb, err)
	tb.Cleanup(func() { testkit.Check(tb, s.Close()) })
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Protocol: 2})
	tb.Cleanup(func() { _ = raw.Close() })
	counted := func(kind string) int {
		all, err := reg.Gather()
		testkit.Check(tb, err)
		for _, f := range all {
			if f.GetName() != "trunkline_store_unreadable_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == kind {
					return int(m.GetCounter().GetValue())
				}
			}
		}
		return 0
	}
	return s, server, raw, counted, log
}

// clean fails for a message that may not be told.
func clean(tb testing.TB, m *bus.Message) {
	tb.Helper()
	if m.ID == "forged" || !utf8.ValidString(m.ID) || m.ContentType == bus.JSON && !json.Valid(m.Data) || m.Published.Year() > 9999 {
		tb.Errorf("passed on: %.300q", fmt.Sprintf("%+v", m))
	}
}

// Whatever stands in a log is passed over in every way of reading. What is beside it is read, page by page to the end.
func TestInput_ofALog(t *testing.T) {
	s, _, raw, counted, log := dirty(t)
	ctx := t.Context()
	a, n := address(t, "channels/log"), 0
	var ids []string
	publish := func() {
		p := publication(a)
		r, err := s.Publish(ctx, bustest.Admit(p))
		testkit.Check(t, err)
		ids = append(ids, r.ID)
	}
	publish()
	forge := func(id string, values ...any) {
		n++
		testkit.Check(t, raw.XAdd(ctx, &goredis.XAddArgs{Stream: "tl:{channels/log}:s", ID: id, Values: values}).Err())
	}
	offset := 1
	next := func(ms string) string {
		offset++
		testkit.Check(t, raw.HSet(ctx, "tl:{channels/log}:m", "o", offset).Err())
		return fmt.Sprintf("%d-%s", offset, ms)
	}
	now := fmt.Sprint(time.Now().UnixMilli())
	for name, envelope := range bad(t) {
		if strings.HasPrefix(name, "a time ") {
			continue // the time of an entry is that in its id
		}
		forge(next(now), "m", envelope)
	}
	forge(next(now), "x", "y")
	forge(next("300000000000000"), "m", "x")
	forge(next("18446744073709551615"), "m", "x")
	testkit.Check(t, raw.HSet(ctx, "tl:{channels/log}:m", "t", now).Err())
	publish()
	for _, limit := range []int{1, 2, 1000} {
		var got []string
		at := bus.Position{}
		for range 1000 {
			page, err := s.Since(ctx, a, bus.Retention{Length: 1000}, at, limit)
			testkit.Check(t, err)
			for _, m := range page.Messages {
				clean(t, m)
				got = append(got, m.ID)
			}
			if at = page.Next; !page.More {
				break
			}
		}
		if strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Errorf("by %d: %v, not %v", limit, got, ids)
		}
		var back []string
		before := uint64(0)
		for range 1000 {
			page, err := s.Latest(ctx, a, bus.Retention{Length: 1000}, before, limit)
			testkit.Check(t, err)
			for _, m := range page.Messages {
				clean(t, m)
				back = append(back, m.ID)
			}
			if before = page.Next.Offset; !page.More {
				break
			}
		}
		if strings.Join(back, " ") != ids[1]+" "+ids[0] {
			t.Errorf("back by %d: %v, not %v", limit, back, ids)
		}
	}
	if c := counted("entry"); c < n {
		t.Errorf("%d are counted of %d", c, n)
	}
	if c := log.count("cannot be read"); c != 1 {
		t.Errorf("%d lines in the log", c)
	}
}

// Whatever comes on a channel, it is passed over, and the subscription goes on.
func TestInput_ofAChannel(t *testing.T) {
	s, _, raw, counted, log := dirty(t)
	ctx := t.Context()
	a := address(t, "channels/live")
	r, f := follow(t, s, a)
	n := 0
	send := func(payload string) {
		n++
		testkit.Check(t, raw.Publish(ctx, "tl:{channels/live}:p", payload).Err())
	}
	now := fmt.Sprint(time.Now().UnixMilli())
	for name, envelope := range bad(t) {
		send("\n" + envelope)
		if !strings.HasPrefix(name, "a time ") {
			send("epoch 1 " + now + "\n" + envelope)
			send("!\n" + envelope)
		}
	}
	good, err := proto.Marshal(&wirev1.Envelope{Id: "forged", Data: []byte("1"), ContentType: 1, PublishTimeMs: 1})
	testkit.Check(t, err)
	for _, head := range []string{"x", "e", "e x", "e -1", "e 1 x", "e 1 -1", "e 1 300000000000000", "e 99999999999999999999 1", "\xff 1 1", "e\x00 1 1", strings.Repeat("e", 100) + " 1 1", " 1 x"} {
		send(head + "\n" + string(good))
	}
	live := bus.Publication{Message: publication(a).Message}
	_, err = s.Publish(ctx, bustest.Admit(live))
	testkit.Check(t, err)
	for {
		m := <-r.messages
		clean(t, m)
		if m.ID == live.Message.ID {
			break
		}
	}
	testkit.Check(t, f.Ready())
	if c := counted("push"); c != n {
		t.Errorf("%d are counted of %d", c, n)
	}
	if c := log.count("cannot be read"); c != 1 {
		t.Errorf("%d lines in the log", c)
	}
}

// A retained message, an inbox entry, a state, a member, a channel or a node that cannot be read is not there. What is beside it
// is. A revocation that cannot be read refuses.
func TestInput_ofEverythingElse(t *testing.T) {
	s, _, raw, counted, log := dirty(t)
	ctx := t.Context()
	t.Run("retained", func(t *testing.T) {
		a := address(t, "channels/retained")
		_, f := follow(t, s, a)
		for name, envelope := range bad(t) {
			testkit.Check(t, raw.Set(ctx, "tl:{channels/retained}:l", "\n"+envelope, 0).Err())
			if last, err := f.Retained(ctx, a, "m"); err != nil || last.Message != nil {
				t.Errorf("%s: %+v, %v", name, last.Message, err)
			}
		}
	})
	t.Run("inbox", func(t *testing.T) {
		a := address(t, "users/ada")
		first, second := asks(a), asks(a)
		_, err := s.Publish(ctx, bustest.Admit(first))
		testkit.Check(t, err)
		i := 1
		now := time.Now().UnixMilli()
		for name, envelope := range bad(t) {
			if strings.HasPrefix(name, "a time ") {
				continue // the time of an entry is that in its id
			}
			i++
			id := "forged" // what the envelope says, where it can be read so far
			if strings.HasPrefix(envelope, "\x0a\x03a\nb") {
				id = "a\nb"
			}
			testkit.Check(t, raw.XAdd(ctx, &goredis.XAddArgs{Stream: "tl:{users/ada}:s", ID: fmt.Sprintf("%d-%d", i, now), Values: []any{"m", envelope}}).Err())
			testkit.Check(t, raw.HSet(ctx, "tl:{users/ada}:k:"+id, "e", fmt.Sprintf("%d-%d", i, now), "s", "x", "a", "y", "x", now+1_000_000, "d", "z", "dl", "\xff").Err())
		}
		testkit.Check(t, raw.HSet(ctx, "tl:{users/ada}:m", "o", i).Err())
		_, err = s.Publish(ctx, bustest.Admit(second))
		testkit.Check(t, err)
		for _, limit := range []int{1, 100} {
			var got []string
			q := bus.PendingQuery{Device: "d", Limit: limit}
			for range 100 {
				page, err := s.Pending(ctx, a, q)
				testkit.Check(t, err)
				for _, w := range page.Messages {
					clean(t, w.Message)
					got = append(got, w.ID)
				}
				if q.After = page.Next; !page.More {
					break
				}
			}
			if want := []string{first.Message.ID, second.Message.ID}; len(got) < 2 || got[0] != want[0] || got[len(got)-1] != want[1] {
				t.Errorf("by %d: %v, not %v", limit, got, want)
			}
		}
	})
	t.Run("state", func(t *testing.T) {
		a := address(t, "channels/state")
		for i, value := range []string{"", "x", "[1]", "1", "{", "{}x", "{\"a\":\"\xff\"}", "null", `{"a":"` + strings.Repeat("x", 200_000) + `"}`} {
			testkit.Check(t, raw.HSet(ctx, "tl:{channels/state}:j", "v", value, "r", i+1, "t", "x").Err())
			got, err := s.State(ctx, a)
			if err != nil || len(got.Value) != 0 || got.Revision != uint64(i+1) {
				t.Errorf("%.20q: %+v, %v", value, got, err)
			}
		}
		for _, revision := range []string{"x", "-1", "1.5", "\xff", strings.Repeat("9", 40)} {
			testkit.Check(t, raw.HSet(ctx, "tl:{channels/state}:j", "v", "{}", "r", revision, "t", "300000000000000").Err())
			got, err := s.State(ctx, a)
			if err != nil || got.Revision != 0 || got.Updated.Year() > 9999 {
				t.Errorf("%q: %+v, %v", revision, got, err)
			}
			c := bus.StateChange{Publication: publication(a), Value: []byte("{}"), TTL: time.Hour}
			if got, err := s.SetState(ctx, bustest.AdmitState(c)); err != nil || got.Revision != 1 {
				t.Errorf("a change of %q: %+v, %v", revision, got, err)
			}
		}
	})
	t.Run("members", func(t *testing.T) {
		a := address(t, "channels/hall")
		testkit.Check(t, s.Beat(ctx, bus.Node{Life: "n"}))
		testkit.Check(t, s.Join(ctx, a, bus.Member{Connection: "m", Client: "m", Node: "n", Joined: time.Now()}))
		for c, text := range map[string]string{"a": "0 x", "b": "", "c": "0 {}", "d": `0 {"Connection":"d","Joined":"+99999-01-01T00:00:00Z"}`, "z": "0 [1]"} {
			testkit.Check(t, raw.HSet(ctx, "tl:{channels/hall}:r", c, text).Err())
			testkit.Check(t, raw.ZAdd(ctx, "tl:{channels/hall}:rz", goredis.Z{Member: c}).Err())
		}
		for _, limit := range []int{1, 2, 100} {
			page, err := s.Members(ctx, a, "", limit)
			if err != nil || len(page.Members) != 1 || page.Members[0].Connection != "m" {
				t.Errorf("by %d: %+v, %v", limit, page, err)
			}
		}
	})
	t.Run("channels", func(t *testing.T) {
		created := address(t, "channels/middle")
		testkit.Check(t, s.CreateChannel(ctx, bus.Channel{Address: created, Created: time.Now()}, 100))
		for i := range 40 {
			testkit.Check(t, raw.ZAdd(ctx, "tl:{channels}", goredis.Z{Member: fmt.Sprintf("\xff%d", i)}, goredis.Z{Member: fmt.Sprintf("channels/a:%d", i)}, goredis.Z{Member: fmt.Sprintf("a%d", i)}).Err())
		}
		for name, text := range map[string]string{"a:1": "x", "a:2": "[]", "a:3": `{"created":"+99999-01-01T00:00:00Z"}`} {
			testkit.Check(t, raw.Set(ctx, "tl:{channels/"+name+"}:c", text, 0).Err())
		}
		testkit.Check(t, raw.LPush(ctx, "tl:{channels/a:4}:c", "x").Err())
		for _, limit := range []int{5, 1000} {
			page, err := s.ListChannels(ctx, "", limit)
			if err != nil || len(page.Channels) != 1 || page.Channels[0].Address != created {
				t.Errorf("by %d: %+v, %v", limit, page, err)
			}
		}
		if _, err := s.Channel(ctx, address(t, "channels/a:1")); err == nil {
			t.Error("a record that is none is a channel")
		}
	})
	t.Run("nodes", func(t *testing.T) {
		for i, text := range []string{"x", "{}", `{"Life":"x","Started":"+99999-01-01T00:00:00Z"}`} {
			life := fmt.Sprintf("bad%d", i)
			testkit.Check(t, raw.HSet(ctx, "tl:{nodes}", life, text).Err())
			testkit.Check(t, raw.ZAdd(ctx, "tl:{nodes}:heard", goredis.Z{Member: life, Score: float64(time.Now().UnixMilli())}).Err())
		}
		if nodes, err := s.Nodes(ctx); err != nil || len(nodes) != 1 || nodes[0].Life != "n" {
			t.Errorf("%+v, %v", nodes, err)
		}
	})
	t.Run("revocations", func(t *testing.T) {
		eve, ada := bus.Subject{Kind: "user", ID: "eve"}, bus.Subject{Kind: "user", ID: "ada"}
		for _, text := range []string{"x", "-1", "1.5", "\xff", "300000000000000", ""} {
			testkit.Check(t, raw.Set(ctx, "tl:{system/revoked}:v:user:eve", text, 0).Err())
			before := time.Now().Add(-time.Second)
			times, err := s.RevokedBefore(ctx, []bus.Subject{eve, ada})
			if err != nil || times[0].Before(before) || times[0].Year() > 9999 || !times[1].IsZero() {
				t.Errorf("%q: %v, %v", text, times, err)
			}
			testkit.Check(t, raw.Set(ctx, "tl:{system/revoked}:v:lost:", text, 0).Err())
			if times, err := s.RevokedBefore(ctx, []bus.Subject{{Kind: bus.SubjectLost}}); err != nil || times[0].Before(before) {
				t.Errorf("%q as the beginning of all: %v, %v", text, times, err)
			}
			testkit.Check(t, raw.Set(ctx, "tl:{system/revoked}:v:user:eve", text, 0).Err())
			testkit.Check(t, s.Revoke(ctx, eve, time.Now(), time.Hour))
		}
	})
	t.Run("positions", func(t *testing.T) {
		a := address(t, "channels/position")
		_, err := s.Publish(ctx, bustest.Admit(publication(a)))
		testkit.Check(t, err)
		for _, epoch := range []string{"\xff", "a b", "a\nb", strings.Repeat("e", 1000)} {
			testkit.Check(t, raw.HSet(ctx, "tl:{channels/position}:m", "e", epoch).Err())
			testkit.Check(t, raw.Set(ctx, "tl:{all}:b", epoch, 0).Err())
			page, err := s.Since(ctx, a, keep, bus.Position{}, 10)
			tops, errs := s.Tops(ctx, []bus.Address{a, address(t, "channels/none")})
			p := publication(a)
			r, err2 := s.Publish(ctx, bustest.Admit(p))
			if err != nil || err2 != nil || bus.FirstError(errs) != nil {
				t.Errorf("%.20q: %v, %v, %v", epoch, err, err2, errs)
			}
			for _, at := range []bus.Position{page.Top, page.Next, tops[0], tops[1], r.Position} {
				if !utf8.ValidString(at.Epoch) || len(at.Epoch) > 64 || strings.ContainsAny(at.Epoch, " \n") {
					t.Errorf("%.20q is told as %q", epoch, at.Epoch)
				}
			}
		}
	})
	for _, kind := range []string{"retained", "inbox", "state", "member", "channel", "node", "revocation", "position"} {
		if counted(kind) == 0 || log.count("kind="+kind) != 1 {
			t.Errorf("%s: %d are counted, and %d logged", kind, counted(kind), log.count("kind="+kind))
		}
	}
}
