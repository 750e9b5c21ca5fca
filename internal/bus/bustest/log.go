package bustest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testLog(t *testing.T, open Open) {
	s := open(t)
	t.Run("an address never used has a position", func(t *testing.T) { testLogAnAddressNeverUsedHasAPosition(t, s) })
	t.Run("what was there before the first message is told when it is not kept", func(t *testing.T) { testLogWhatWasThereBeforeTheFirstMessage(t, s) })
	t.Run("since pages upwards", func(t *testing.T) { testLogSincePagesUpwards(t, s) })
	t.Run("latest pages downwards", func(t *testing.T) { testLogLatestPagesDownwards(t, s) })
	t.Run("length is a bound, and what it drops is a gap", func(t *testing.T) { testLogLengthIsABoundAndWhatItDropsIsAGap(t, s) })
	t.Run("another epoch is a gap", func(t *testing.T) { testLogAnotherEpochIsAGap(t, s) })
	t.Run("age is a bound", func(t *testing.T) { testLogAgeIsABound(t, s) })
	t.Run("expired messages are left out and counted", func(t *testing.T) { testLogExpiredMessagesAreLeftOutAnd(t, s) })
	t.Run("the store sets the times, whatever the caller says", func(t *testing.T) { testLogTheStoreSetsTheTimesWhateverThe(t, s) })
	t.Run("a reader that keeps less deletes nothing", func(t *testing.T) { testLogAReaderThatKeepsLessDeletesNothing(t, s) })
	t.Run("publishing removes what is too old", func(t *testing.T) { testLogPublishingRemovesWhatIsTooOld(t, s) })
}

// filled returns an address with n messages, and its epoch.
func filled(t *testing.T, s bus.Store, n int, r bus.Retention) (bus.Address, string) {
	t.Helper()
	a := address(t)
	epoch := ""
	for i := range n {
		epoch = publish(t, s, bus.Publication{Message: message(a, fmt.Sprint(i+1)), Retention: r}).Position.Epoch
	}
	return a, epoch
}

func testLogAnAddressNeverUsedHasAPosition(t *testing.T, s bus.Store) {
	a := address(t)
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, bus.FirstError(errs))
	if tops[0].Epoch == "" || tops[0].Offset != 0 {
		t.Fatalf("top is %+v", tops[0])
	}
	page, err := s.Since(t.Context(), a, keep, tops[0], 10)
	testkit.Check(t, err)
	if page.Top != tops[0] || page.Next != tops[0] || page.More || len(page.Messages) > 0 {
		t.Errorf("before the first message: %+v, top was %+v", page, tops[0])
	}
	if r := publish(t, s, durable(a, "x")); r.Position.Offset != 1 || !tops[0].Before(r.Position) {
		t.Errorf("the first message is at %+v, top was %+v", r.Position, tops[0])
	}
	page, err = s.Since(t.Context(), a, keep, tops[0], 10)
	testkit.Check(t, err)
	if texts(page.Messages) != "[x]" || page.Next != page.Top || page.Top.Offset != 1 {
		t.Errorf("page is %s, %+v", texts(page.Messages), page)
	}
}

func testLogWhatWasThereBeforeTheFirstMessage(t *testing.T, s bus.Store) {
	a := address(t)
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, bus.FirstError(errs))
	for i := range 4 {
		publish(t, s, bus.Publication{Message: message(a, fmt.Sprint(i+1)), Retention: bus.Retention{Length: 3, Age: time.Minute}})
	}
	page, err := s.Since(t.Context(), a, keep, tops[0], 10)
	if !errors.Is(err, bus.ErrGap) || texts(page.Messages) != "[2 3 4]" {
		t.Errorf("%s, %v", texts(page.Messages), err)
	}
}

func testLogSincePagesUpwards(t *testing.T, s bus.Store) {
	a, epoch := filled(t, s, 10, keep)
	var got []*bus.Message
	at := bus.Position{}
	for {
		page, err := s.Since(t.Context(), a, keep, at, 3)
		testkit.Check(t, err)
		got = append(got, page.Messages...)
		at = page.Next
		if page.Top != (bus.Position{Epoch: epoch, Offset: 10}) {
			t.Fatalf("top is %+v", page.Top)
		}
		if !page.More {
			break
		}
	}
	if texts(got) != "[1 2 3 4 5 6 7 8 9 10]" || at != (bus.Position{Epoch: epoch, Offset: 10}) {
		t.Errorf("got %s, next %+v", texts(got), at)
	}
	page, err := s.Since(t.Context(), a, keep, bus.Position{Epoch: epoch, Offset: 7}, 10)
	testkit.Check(t, err)
	if texts(page.Messages) != "[8 9 10]" || page.Messages[0].Position.Offset != 8 {
		t.Errorf("got %s", texts(page.Messages))
	}
	page, err = s.Since(t.Context(), a, keep, at, 10)
	testkit.Check(t, err)
	if len(page.Messages) != 0 || page.More || page.Next != at {
		t.Errorf("after the top: %+v", page)
	}
}

func testLogLatestPagesDownwards(t *testing.T, s bus.Store) {
	a, epoch := filled(t, s, 5, keep)
	page, err := s.Latest(t.Context(), a, keep, 0, 2)
	testkit.Check(t, err)
	if texts(page.Messages) != "[5 4]" || !page.More || page.Next != (bus.Position{Epoch: epoch, Offset: 4}) {
		t.Fatalf("page is %s, %+v", texts(page.Messages), page)
	}
	page, err = s.Latest(t.Context(), a, keep, page.Next.Offset, 10)
	testkit.Check(t, err)
	if texts(page.Messages) != "[3 2 1]" || page.More {
		t.Errorf("page is %s, %+v", texts(page.Messages), page)
	}
	page, err = s.Latest(t.Context(), address(t), keep, 0, 10)
	testkit.Check(t, err)
	if len(page.Messages) != 0 || page.More {
		t.Errorf("an empty log has %+v", page)
	}
}

func testLogLengthIsABoundAndWhatItDropsIsAGap(t *testing.T, s bus.Store) {
	short := bus.Retention{Length: 3, Age: time.Minute}
	a, epoch := filled(t, s, 10, short)
	for _, tc := range []struct {
		after uint64
		gap   bool
		want  string
	}{{6, true, "[8 9 10]"}, {7, false, "[8 9 10]"}, {9, false, "[10]"}, {10, false, "[]"}, {11, true, "[]"}, {100, true, "[]"}} {
		page, err := s.Since(t.Context(), a, short, bus.Position{Epoch: epoch, Offset: tc.after}, 10)
		if errors.Is(err, bus.ErrGap) != tc.gap || err != nil && !tc.gap || texts(page.Messages) != tc.want {
			t.Errorf("after %d: %s, %v", tc.after, texts(page.Messages), err)
		}
	}
	page, err := s.Since(t.Context(), a, short, bus.Position{}, 10)
	testkit.Check(t, err)
	if texts(page.Messages) != "[8 9 10]" {
		t.Errorf("from the beginning: %s", texts(page.Messages))
	}
}

func testLogAnotherEpochIsAGap(t *testing.T, s bus.Store) {
	a, _ := filled(t, s, 3, keep)
	page, err := s.Since(t.Context(), a, keep, bus.Position{Epoch: "other", Offset: 1}, 10)
	if !errors.Is(err, bus.ErrGap) || texts(page.Messages) != "[1 2 3]" {
		t.Errorf("%s, %v", texts(page.Messages), err)
	}
}

func testLogAgeIsABound(t *testing.T, s bus.Store) {
	brief := bus.Retention{Length: 10, Age: 500 * time.Millisecond}
	a, epoch := filled(t, s, 3, brief)
	testkit.Eventually(t, "the messages are too old", func() bool {
		page, err := s.Since(t.Context(), a, brief, bus.Position{}, 10)
		testkit.Check(t, err)
		return len(page.Messages) == 0
	})
	page, err := s.Since(t.Context(), a, brief, bus.Position{Epoch: epoch, Offset: 1}, 10)
	if !errors.Is(err, bus.ErrGap) || page.Next != (bus.Position{Epoch: epoch, Offset: 3}) {
		t.Errorf("next is %+v, error %v", page.Next, err)
	}
	if r := publish(t, s, bus.Publication{Message: message(a, "4"), Retention: brief}); r.Position != (bus.Position{Epoch: epoch, Offset: 4}) {
		t.Errorf("the next message is at %+v", r.Position)
	}
}

func testLogExpiredMessagesAreLeftOutAnd(t *testing.T, s bus.Store) {
	a := address(t)
	brief := durable(a, "expired")
	brief.TTL = 20 * time.Millisecond
	publish(t, s, durable(a, "1"))
	publish(t, s, brief)
	publish(t, s, durable(a, "3"))
	last := publish(t, s, brief)
	testkit.Eventually(t, "the last one has expired", func() bool { return s.Now().After(last.Published.Add(brief.TTL)) })
	page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
	testkit.Check(t, err)
	if texts(page.Messages) != "[1 3]" || page.Next.Offset != 4 {
		t.Errorf("%s, next %+v", texts(page.Messages), page.Next)
	}
}

func testLogTheStoreSetsTheTimesWhateverThe(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	for name, r := range map[string]bus.Retention{"live": {}, "durable": keep} {
		for _, off := range []time.Duration{-11 * time.Minute, 0, 11 * time.Minute} {
			p := bus.Publication{Message: message(a, "x"), Retention: r, TTL: time.Minute}
			p.Message.Published = time.Now().Add(off)
			p.Message.Expires = p.Message.Published.Add(time.Second)
			before := s.Now().Add(-time.Second)
			receipt := publish(t, s, p)
			m := l.next()
			if receipt.Published.Before(before) || receipt.Published.After(s.Now().Add(time.Second)) {
				t.Errorf("%s, off by %s: published at %s", name, off, receipt.Published)
			}
			if !m.Published.Equal(receipt.Published) || !m.Expires.Equal(receipt.Published.Add(time.Minute)) {
				t.Errorf("%s: the message was published at %s and ends at %s, the receipt says %s", name, m.Published, m.Expires, receipt.Published)
			}
		}
	}
	page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
	testkit.Check(t, err)
	if len(page.Messages) != 3 {
		t.Fatalf("%d messages were kept", len(page.Messages))
	}
	for i, m := range page.Messages {
		if !m.Expires.Equal(m.Published.Add(time.Minute)) || i > 0 && m.Published.Before(page.Messages[i-1].Published) {
			t.Errorf("kept message %d was published at %s and ends at %s", i, m.Published, m.Expires)
		}
	}
}

func testLogAReaderThatKeepsLessDeletesNothing(t *testing.T, s bus.Store) {
	a, epoch := filled(t, s, 3, keep)
	brief := bus.Retention{Length: 10, Age: time.Millisecond}
	testkit.Eventually(t, "the messages are too old for one reader", func() bool {
		page, err := s.Since(t.Context(), a, brief, bus.Position{}, 10)
		testkit.Check(t, err)
		return len(page.Messages) == 0
	})
	if page, err := s.Latest(t.Context(), a, brief, 0, 10); err != nil || len(page.Messages) != 0 {
		t.Errorf("latest: %s, %v", texts(page.Messages), err)
	}
	page, err := s.Since(t.Context(), a, keep, bus.Position{Epoch: epoch, Offset: 1}, 10)
	if err != nil || texts(page.Messages) != "[2 3]" {
		t.Errorf("another reader has %s, %v", texts(page.Messages), err)
	}
}

func testLogPublishingRemovesWhatIsTooOld(t *testing.T, s bus.Store) {
	brief := bus.Retention{Length: 1000, Age: 50 * time.Millisecond}
	a, _ := filled(t, s, 3, brief)
	old := s.Now()
	testkit.Eventually(t, "they are too old", func() bool { return s.Now().Sub(old) > brief.Age })
	var first bus.Position
	for range 128 {
		if r := publish(t, s, bus.Publication{Message: message(a, "x"), Retention: brief}); first.IsZero() {
			first = r.Position
		}
	}
	page, err := s.Since(t.Context(), a, bus.Retention{Length: 1000, Age: time.Hour}, bus.Position{}, 10)
	testkit.Check(t, err)
	if len(page.Messages) == 0 || page.Messages[0].Position.Offset < first.Offset {
		t.Errorf("the oldest is %+v, the first young one %+v", page.Messages, first)
	}
}
