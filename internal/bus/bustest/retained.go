package bustest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func retained(to bus.Address, text string, d time.Duration) bus.Publication {
	return bus.Publication{Message: message(to, text), Retain: d}
}

// last reads what an address retains, and what came before the mark.
func (l *listener) last(a bus.Address) (bus.Last, []*bus.Message) {
	l.tb.Helper()
	mark := uuid.NewString()
	last, err := l.feed.Retained(l.tb.Context(), a, mark)
	testkit.Check(l.tb, err)
	var before []*bus.Message
	for {
		m := l.next()
		if m.Kind == bus.MessageMark && m.ID == mark {
			if m.To != a {
				l.tb.Errorf("the mark is of %s", m.To)
			}
			return last, before
		}
		before = append(before, m)
	}
}

func testRetained(t *testing.T, open Open) {
	s := open(t)
	t.Run("nothing", func(t *testing.T) { testRetainedNothing(t, s) })
	t.Run("the last one, whoever listens", func(t *testing.T) { testRetainedTheLastOneWhoeverListens(t, s) })
	t.Run("ends with its time, or its message's", func(t *testing.T) { testRetainedEndsWithItsTimeOrItsMessageS(t, s) })
	t.Run("a repeat does not bring it back", func(t *testing.T) { testRetainedARepeatDoesNotBringItBack(t, s) })
	t.Run("a deleted channel has none", func(t *testing.T) { testRetainedADeletedChannelHasNone(t, s) })
	t.Run("the mark stands where it was read", func(t *testing.T) { markedPlaces(t, s) })
}

// markedPlaces reads while others publish: what is retained is the last that came before the mark, always.
func markedPlaces(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Publish(t.Context(), Admit(retained(a, fmt.Sprint(i), time.Minute))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer done.Wait()
	defer close(stop)
	newest := ""
	for range 200 {
		last, before := l.last(a)
		if len(before) > 0 {
			newest = before[len(before)-1].ID
		}
		if newest != "" && (last.Message == nil || last.Message.ID != newest) {
			t.Fatalf("retained %+v, and %s came last before the mark", last.Message, newest)
		}
	}
	if newest == "" {
		t.Error("nothing came")
	}
}

func testRetainedNothing(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	publish(t, s, bus.Publication{Message: message(a, "x")})
	if last, before := l.last(a); last.Message != nil || texts(before) != "[x]" {
		t.Errorf("retained %+v after %s", last.Message, texts(before))
	}
}

func testRetainedTheLastOneWhoeverListens(t *testing.T, s bus.Store) {
	for _, p := range []func(a bus.Address, text string) bus.Publication{
		func(a bus.Address, text string) bus.Publication { return retained(a, text, time.Minute) },
		func(a bus.Address, text string) bus.Publication {
			p := durable(a, text)
			p.Retain = time.Minute
			return p
		},
	} {
		a := address(t)
		publish(t, s, p(a, "1"))
		want := p(a, "2")
		r := publish(t, s, want)
		publish(t, s, bus.Publication{Message: message(a, "not kept")})
		l := listen(t, s, a)
		last, _ := l.last(a)
		if last.Message == nil || text(last.Message) != "2" || last.Message.ID != want.Message.ID || last.Bare ||
			last.Message.Position != r.Position || last.Message.To != a || !last.Message.Published.Equal(r.Published) {
			t.Errorf("retained %+v, want %+v at %v", last.Message, want.Message, r.Position)
		}
	}
}

func testRetainedEndsWithItsTimeOrItsMessageS(t *testing.T, s bus.Store) {
	a, b := address(t), address(t)
	publish(t, s, retained(a, "x", 50*time.Millisecond))
	p := retained(b, "x", time.Hour)
	p.TTL = 50 * time.Millisecond
	publish(t, s, p)
	l := listen(t, s, a, b)
	for _, one := range []bus.Address{a, b} {
		testkit.Eventually(t, "it has ended", func() bool { last, _ := l.last(one); return last.Message == nil })
	}
}

func testRetainedARepeatDoesNotBringItBack(t *testing.T, s bus.Store) {
	a := address(t)
	p := retained(a, "1", time.Minute)
	p.IdempotencyKey, p.Digest, p.Window = "key", "d", time.Minute
	publish(t, s, p)
	publish(t, s, retained(a, "2", time.Minute))
	publish(t, s, p)
	if last, _ := listen(t, s, a).last(a); last.Message == nil || text(last.Message) != "2" {
		t.Errorf("retained %+v", last.Message)
	}
}

func testRetainedADeletedChannelHasNone(t *testing.T, s bus.Store) {
	a := address(t)
	testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{Address: a, Created: time.Now()}, 0))
	publish(t, s, retained(a, "x", time.Minute))
	testkit.Check(t, s.DeleteChannel(t.Context(), a))
	if last, _ := listen(t, s, a).last(a); last.Message != nil {
		t.Errorf("retained %+v", last.Message)
	}
}
