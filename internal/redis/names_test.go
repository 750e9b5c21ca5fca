package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// alias knows channels/old:X as old X, a channel of bare data and a key.
type alias struct {
	name string
	to   bus.Address
}

func (a alias) Channel() string { return a.name }

func (alias) Keeps() bool { return true }

func (alias) Copy(m *bus.Message) ([]byte, bool) { return m.Data, true }

func (a alias) Map(data []byte) (*bus.Message, bool) {
	m := &bus.Message{ID: uuid.NewString(), To: a.to, Data: data, ContentType: bus.Text}
	if !utf8.Valid(data) {
		m.ContentType = bus.Binary
	}
	return m, true
}

func aliases(a bus.Address) bus.Alias {
	if id, ok := strings.CutPrefix(a.String(), "channels/old:"); ok {
		return alias{name: "old " + id, to: a}
	}
	return nil
}

// older is a store that shares names with an older program, and that program's own connection.
func older(t *testing.T) (*redis.Store, *goredis.Client) {
	t.Helper()
	server := redistest.Start(t)
	s, err := redis.Open(redis.Config{URL: server.URL(), Aliases: aliases}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	old := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = old.Close() })
	return s, old
}

func oldAddress(t *testing.T) (bus.Address, string) {
	t.Helper()
	id := uuid.NewString()
	a, err := bus.ParseAddress("channels/old:" + id)
	if err != nil {
		t.Fatal(err)
	}
	return a, "old " + id
}

func text(p bus.Publication, data string) bus.Publication {
	p.Retention, p.Message.Data = bus.Retention{}, []byte(data)
	return p
}

func next(t *testing.T, r *receiver) *bus.Message {
	t.Helper()
	select {
	case m := <-r.messages:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return nil
	}
}

// A message of ours reaches both worlds, each of our feeds once, under load from both sides.
func TestNames_bothWays(t *testing.T) {
	s, old := older(t)
	a, name := oldAddress(t)
	first, _ := follow(t, s, a)
	second, _ := follow(t, s, a)
	heard := old.Subscribe(t.Context(), name)
	defer func() { _ = heard.Close() }()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	const each = 500
	done := make(chan error, 2)
	go func() {
		var failed error
		for i := range each {
			if _, err := s.Publish(t.Context(), bustest.Admit(text(publication(a), fmt.Sprint("ours ", i)))); err != nil {
				failed = err
			}
		}
		done <- failed
	}()
	go func() {
		var failed error
		for i := range each {
			if err := old.Publish(t.Context(), name, fmt.Sprint("theirs ", i)).Err(); err != nil {
				failed = err
			}
		}
		done <- failed
	}()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*receiver{first, second} {
		count := map[string]int{}
		for range 2 * each {
			m := next(t, r)
			from, n, _ := strings.Cut(string(m.Data), " ")
			if m.To != a || n != fmt.Sprint(count[from]) {
				t.Fatalf("%s came as number %d", m.Data, count[from])
			}
			count[from]++
		}
		if _, err := s.Publish(t.Context(), bustest.Admit(text(publication(a), "end"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*receiver{first, second} {
		for range 2 { // one end for each feed, and nothing besides
			if m := next(t, r); string(m.Data) != "end" {
				t.Fatalf("%s came once too often", m.Data)
			}
		}
	}
	count := 0
	for count < 2*each {
		if _, err := heard.ReceiveMessage(t.Context()); err != nil {
			t.Fatal(err)
		}
		count++
	}
}

// What an older program keeps is retained here, and the reverse; equal texts in a row are not taken for repeats.
func TestNames_retained(t *testing.T) {
	s, old := older(t)
	a, name := oldAddress(t)
	ctx := t.Context()
	r, f := follow(t, s, a)
	read := func() bus.Last {
		t.Helper()
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		last, err := f.Retained(call, a, "m")
		if err != nil {
			t.Fatal(err)
		}
		for next(t, r).Kind != bus.MessageMark {
		}
		return last
	}
	if last := read(); last.Message != nil {
		t.Errorf("retained %+v", last.Message)
	}
	if err := old.Set(ctx, name, "\x00\x12\xaa", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if last := read(); last.Message == nil || string(last.Message.Data) != "\x00\x12\xaa" || last.Message.ContentType != bus.Binary || !last.Bare {
		t.Errorf("retained %+v", last.Message)
	}
	p := text(publication(a), "ours")
	p.Retain = time.Minute
	if _, err := s.Publish(ctx, bustest.Admit(p)); err != nil {
		t.Fatal(err)
	}
	if got := old.Get(ctx, name).Val(); got != "ours" {
		t.Errorf("the key holds %q", got)
	}
	if ttl := old.TTL(ctx, name).Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the key lives %s", ttl)
	}
	if last := read(); last.Message == nil || !last.Is(&bus.Message{Data: []byte("ours")}) {
		t.Errorf("retained %+v", last.Message)
	}
	if err := old.Del(ctx, name).Err(); err != nil {
		t.Fatal(err)
	}
	if err := old.LPush(ctx, name, "no text").Err(); err != nil {
		t.Fatal(err)
	}
	if last := read(); last.Message != nil {
		t.Errorf("a list counts as %+v", last.Message)
	}
	for _, send := range []func() error{
		func() error { _, err := s.Publish(ctx, bustest.Admit(text(publication(a), "same"))); return err },
		func() error { return old.Publish(ctx, name, "same").Err() },
		func() error { return old.Publish(ctx, name, "same").Err() },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if m := next(t, r); string(m.Data) != "same" {
			t.Errorf("got %s", m.Data)
		}
	}
}
