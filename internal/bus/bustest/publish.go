package bustest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testPublish(t *testing.T, open Open) {
	s := open(t)
	t.Run("a live message has no position", func(t *testing.T) { testPublishALiveMessageHasNoPosition(t, s) })
	t.Run("offsets are dense from 1", func(t *testing.T) { testPublishOffsetsAreDenseFrom1(t, s) })
	t.Run("concurrent publishers get each offset once", func(t *testing.T) { testPublishConcurrentPublishersGetEachOffset(t, s) })
	t.Run("several at once keep their order", func(t *testing.T) { testPublishSeveralAtOnceKeepTheirOrder(t, s) })
	t.Run("one refused item does not stop the others", func(t *testing.T) { testPublishOneRefusedItemDoesNotStopTheOthers(t, s) })
	t.Run("a channel that must exist", func(t *testing.T) { testPublishAChannelThatMustExist(t, s) })
	t.Run("every field arrives", func(t *testing.T) { testPublishEveryFieldArrives(t, s) })
	t.Run("an ended context", func(t *testing.T) { testPublishAnEndedContext(t, s) })
	t.Run("ping", func(t *testing.T) { testkit.Check(t, s.Ping(t.Context())) })
}

func testIdempotency(t *testing.T, open Open) {
	s := open(t)
	for name, r := range map[string]bus.Retention{"live": {}, "durable": keep} {
		t.Run(name, func(t *testing.T) {
			a := address(t)
			l := listen(t, s, a)
			p := bus.Publication{Message: message(a, "x"), Retention: r, IdempotencyKey: "k", Digest: "d", Window: time.Minute}
			first := publish(t, s, p)
			p.Message.ID = uuid.NewString()
			again := publish(t, s, p)
			if !again.Duplicate || again.ID != first.ID || again.Position != first.Position || !again.Published.Equal(first.Published) || again.Durability != first.Durability {
				t.Errorf("again %+v, first %+v", again, first)
			}
			p.Digest = "other"
			if _, err := s.Publish(t.Context(), Admit(p)); !errors.Is(err, bus.ErrIdempotencyMismatch) {
				t.Errorf("error is %v", err)
			}
			publish(t, s, bus.Publication{Message: message(a, "last"), Retention: r})
			if got := text(l.next()) + " " + text(l.next()); got != "x last" {
				t.Errorf("got %s", got)
			}
		})
	}
	t.Run("keys are their publisher's, and an address's", func(t *testing.T) { testIdempotencyKeysAreTheirPublisherSAndAn(t, s) })
	t.Run("a key ends with its channel", func(t *testing.T) { testIdempotencyAKeyEndsWithItsChannel(t, s) })
	t.Run("a window ends", func(t *testing.T) { testIdempotencyAWindowEnds(t, s) })
	t.Run("concurrent callers with one key", func(t *testing.T) { testIdempotencyConcurrentCallersWithOneKey(t, s) })
}

func testFeed(t *testing.T, open Open) {
	s := open(t)
	t.Run("every feed gets each message once", func(t *testing.T) { testFeedEveryFeedGetsEachMessageOnce(t, s) })
	t.Run("subscribe returns when later messages arrive", func(t *testing.T) { testFeedSubscribeReturnsWhenLaterMessages(t, s) })
	t.Run("unsubscribe", func(t *testing.T) { testFeedUnsubscribe(t, s) })
	t.Run("many addresses, concurrent", func(t *testing.T) { testFeedManyAddressesConcurrent(t, s) })
	t.Run("ready", func(t *testing.T) { testFeedReady(t, s) })
}

func testPublishALiveMessageHasNoPosition(t *testing.T, s bus.Store) {
	a := address(t)
	r := publish(t, s, bus.Publication{Message: message(a, "x")})
	if !r.Position.IsZero() || r.Durability != bus.Live || r.Duplicate {
		t.Errorf("receipt is %+v", r)
	}
}

func testPublishOffsetsAreDenseFrom1(t *testing.T, s bus.Store) {
	a := address(t)
	epoch := ""
	for want := uint64(1); want <= 5; want++ {
		r := publish(t, s, durable(a, "x"))
		if r.Position.Offset != want || r.Position.Epoch == "" || epoch != "" && r.Position.Epoch != epoch || r.Durability != bus.Accepted {
			t.Fatalf("receipt %d is %+v", want, r)
		}
		epoch = r.Position.Epoch
	}
}

func testPublishConcurrentPublishersGetEachOffset(t *testing.T, s bus.Store) {
	a := address(t)
	const publishers, each = 8, 50
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for range each {
				r, err := s.Publish(t.Context(), Admit(durable(a, "x")))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[r.Position.Offset] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for o := uint64(1); o <= publishers*each; o++ {
		if !seen[o] {
			t.Fatalf("offset %d is missing", o)
		}
	}
}

func testPublishSeveralAtOnceKeepTheirOrder(t *testing.T, s bus.Store) {
	a, b := address(t), address(t)
	l := listen(t, s, a, b)
	var ps []bus.Publication
	for i := range 50 {
		ps = append(ps, durable(a, fmt.Sprint(i)), durable(b, fmt.Sprint(i)))
	}
	receipts, errs := s.PublishAll(t.Context(), AdmitAll(ps...))
	for i := range ps {
		testkit.Check(t, errs[i])
		if receipts[i].Position.Offset != uint64(i/2+1) || receipts[i].ID != ps[i].Message.ID {
			t.Errorf("receipt %d is %+v", i, receipts[i])
		}
	}
	next := map[bus.Address]int{}
	for range ps {
		m := l.next()
		if text(m) != fmt.Sprint(next[m.To]) {
			t.Fatalf("%s came instead of %d", text(m), next[m.To])
		}
		next[m.To]++
	}
}

func testPublishOneRefusedItemDoesNotStopTheOthers(t *testing.T, s bus.Store) {
	a, b := address(t), address(t)
	bad := durable(a, "x")
	bad.RequireChannel = true
	receipts, errs := s.PublishAll(t.Context(), AdmitAll(bad, durable(b, "y")))
	if !errors.Is(errs[0], bus.ErrChannelNotFound) || errs[1] != nil || receipts[1].Position.Offset != 1 {
		t.Errorf("got %v, %+v", errs, receipts)
	}
}

func testPublishAChannelThatMustExist(t *testing.T, s bus.Store) {
	a := address(t)
	p := bus.Publication{Message: message(a, "x"), RequireChannel: true}
	if _, err := s.Publish(t.Context(), Admit(p)); !errors.Is(err, bus.ErrChannelNotFound) {
		t.Errorf("error is %v", err)
	}
	testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{Address: a, Created: time.Now()}, 0))
	publish(t, s, p)
}

func testPublishEveryFieldArrives(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	for _, p := range []bus.Publication{{}, {Retention: keep}} {
		m := message(a, "x")
		m.Data = []byte{0, 1, 2, '\n', 0xff, '{', '}'}
		m.ContentType = bus.Binary
		m.From = bus.Sender{Client: "c1", User: "u1"}
		m.Attributes = map[string]string{"a": "1", "ü": "…"}
		m.Recipients = []string{"c2", "c3"}
		m.ExcludeClient, m.ExcludeConnection = "c4", "x5"
		p.Message, p.TTL = m, time.Hour
		r := publish(t, s, p)
		m.Position = r.Position
		got := *l.next()
		if !got.Published.Equal(r.Published) || !got.Expires.Equal(r.Published.Add(time.Hour)) {
			t.Errorf("times are %v %v", got.Published, got.Expires)
		}
		got.Published, got.Expires = m.Published, m.Expires
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got  %+v\nwant %+v", got, m)
		}
	}
}

func testPublishAnEndedContext(t *testing.T, s bus.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Publish(ctx, Admit(durable(address(t), "x"))); err == nil {
		t.Error("published")
	}
}

func testIdempotencyKeysAreTheirPublisherSAndAn(t *testing.T, s bus.Store) {
	a, b := address(t), address(t)
	p := func(to bus.Address, publisher, digest string) bus.Publication {
		return bus.Publication{
			Message: message(to, publisher), Retention: keep, Publisher: publisher, IdempotencyKey: "1", Digest: digest, Window: time.Minute,
		}
	}
	first := publish(t, s, p(a, "ada", "d"))
	for _, other := range []bus.Publication{p(a, "bob", "d"), p(a, "eve", "another"), p(b, "ada", "d"), p(b, "bob", "another")} {
		if r := publish(t, s, other); r.Duplicate || r.ID != other.Message.ID {
			t.Errorf("%s to %s: %+v", other.Publisher, other.Message.To, r)
		}
	}
	if r := publish(t, s, p(a, "ada", "d")); !r.Duplicate || r.ID != first.ID {
		t.Errorf("again %+v, first %+v", r, first)
	}
}

func testIdempotencyAKeyEndsWithItsChannel(t *testing.T, s bus.Store) {
	for name, r := range map[string]bus.Retention{"live": {}, "durable": keep} {
		a := address(t)
		channel := bus.Channel{Address: a, Created: time.Now()}
		testkit.Check(t, s.CreateChannel(t.Context(), channel, 0))
		p := bus.Publication{Message: message(a, "x"), Retention: r, RequireChannel: true, IdempotencyKey: "k", Digest: "d", Window: time.Minute}
		publish(t, s, p)
		testkit.Check(t, s.DeleteChannel(t.Context(), a))
		testkit.Check(t, s.CreateChannel(t.Context(), channel, 0))
		p.Message.ID = uuid.NewString()
		l := listen(t, s, a)
		again := publish(t, s, p)
		if again.Duplicate || again.ID != p.Message.ID {
			t.Errorf("%s: in the new channel: %+v", name, again)
		}
		if m := l.next(); m.ID != p.Message.ID {
			t.Errorf("%s: %+v came", name, m)
		}
		if r := publish(t, s, p); !r.Duplicate || r.Position != again.Position {
			t.Errorf("%s: repeated in the new channel: %+v, first %+v", name, r, again)
		}
	}
}

func testIdempotencyAWindowEnds(t *testing.T, s bus.Store) {
	a := address(t)
	p := bus.Publication{Message: message(a, "x"), Retention: keep, IdempotencyKey: "k", Digest: "d", Window: 50 * time.Millisecond}
	first := publish(t, s, p)
	testkit.Eventually(t, "the window has ended", func() bool { return s.Now().After(first.Published.Add(2 * p.Window)) })
	p.Message.ID, p.Digest = uuid.NewString(), "another"
	if r := publish(t, s, p); r.Duplicate || r.ID != p.Message.ID || r.Position.Offset != 2 {
		t.Errorf("after it: %+v", r)
	}
}

func testIdempotencyConcurrentCallersWithOneKey(t *testing.T, s bus.Store) {
	a := address(t)
	const callers = 16
	var wg sync.WaitGroup
	var mu sync.Mutex
	firsts := 0
	for range callers {
		wg.Go(func() {
			p := durable(a, "x")
			p.IdempotencyKey, p.Digest, p.Window = "k", "d", time.Minute
			r, err := s.Publish(t.Context(), Admit(p))
			if err != nil || r.Position.Offset != 1 {
				t.Errorf("got %+v, %v", r, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !r.Duplicate {
				firsts++
			}
		})
	}
	wg.Wait()
	if firsts != 1 {
		t.Errorf("%d callers were the first", firsts)
	}
}

func testFeedEveryFeedGetsEachMessageOnce(t *testing.T, s bus.Store) {
	a := address(t)
	one, two := listen(t, s, a), listen(t, s, a, a)
	one.subscribe(a) // the same as once
	for i := range 20 {
		publish(t, s, durable(a, fmt.Sprint(i)))
	}
	for _, l := range []*listener{one, two} {
		for i := range 20 {
			if m := l.next(); text(m) != fmt.Sprint(i) || m.Position.Offset != uint64(i+1) {
				t.Fatalf("got %s at %v, want %d", text(m), m.Position, i)
			}
		}
		if len(l.messages) > 0 {
			t.Errorf("%d more came", len(l.messages))
		}
	}
}

func testFeedSubscribeReturnsWhenLaterMessages(t *testing.T, s bus.Store) {
	l := listen(t, s)
	for range 50 {
		a := address(t)
		l.subscribe(a)
		publish(t, s, bus.Publication{Message: message(a, a.String())})
		if m := l.next(); text(m) != a.String() {
			t.Fatalf("got %s", text(m))
		}
	}
}

func testFeedUnsubscribe(t *testing.T, s bus.Store) {
	a, b := address(t), address(t)
	l := listen(t, s, a, b)
	l.feed.Unsubscribe(a)
	l.feed.Unsubscribe(a) // twice does no harm
	testkit.Eventually(t, "nothing more comes", func() bool {
		publish(t, s, bus.Publication{Message: message(a, "a")})
		publish(t, s, bus.Publication{Message: message(b, "b")})
		return text(l.next()) == "b"
	})
	l.subscribe(a)
	publish(t, s, bus.Publication{Message: message(a, "again")})
	for text(l.next()) != "again" {
	}
}

func testFeedManyAddressesConcurrent(t *testing.T, s bus.Store) {
	l := listen(t, s)
	const addresses = 200
	var wg sync.WaitGroup
	for range addresses {
		wg.Go(func() {
			a := address(t)
			l.subscribe(a)
			if _, err := s.Publish(t.Context(), Admit(bus.Publication{Message: message(a, a.String())})); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range addresses {
		seen[text(l.next())] = true
	}
	if len(seen) != addresses {
		t.Errorf("%d of %d came", len(seen), addresses)
	}
}

func testFeedReady(t *testing.T, s bus.Store) {
	if s.NewFeed().Ready() == nil {
		t.Error("a feed that does not run is ready")
	}
	l := listen(t, s)
	testkit.Eventually(t, "the feed is ready", func() bool { return l.feed.Ready() == nil })
}
