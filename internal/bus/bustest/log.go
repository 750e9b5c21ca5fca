package bustest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

func testLog(t *testing.T, open Open) {
	s := open(t)
	filled := func(t *testing.T, n int, r bus.Retention) (bus.Address, string) {
		t.Helper()
		a := address(t)
		epoch := ""
		for i := range n {
			epoch = publish(t, s, bus.Publication{Message: message(a, fmt.Sprint(i+1)), Retention: r}).Position.Epoch
		}
		return a, epoch
	}
	t.Run("an address never used has a position", func(t *testing.T) {
		a := address(t)
		tops, err := s.Tops(t.Context(), []bus.Address{a})
		check(t, err)
		if tops[0].Epoch == "" || tops[0].Offset != 0 {
			t.Fatalf("top is %+v", tops[0])
		}
		if r := publish(t, s, durable(a, "x")); r.Position != (bus.Position{Epoch: tops[0].Epoch, Offset: 1}) {
			t.Errorf("the first message is at %+v, top was %+v", r.Position, tops[0])
		}
		page, err := s.Since(t.Context(), a, keep, tops[0], 10)
		check(t, err)
		if texts(page.Messages) != "[x]" {
			t.Errorf("page is %s", texts(page.Messages))
		}
	})
	t.Run("since pages upwards", func(t *testing.T) {
		a, epoch := filled(t, 10, keep)
		var got []*bus.Message
		at := bus.Position{}
		for {
			page, err := s.Since(t.Context(), a, keep, at, 3)
			check(t, err)
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
		check(t, err)
		if texts(page.Messages) != "[8 9 10]" || page.Messages[0].Position.Offset != 8 {
			t.Errorf("got %s", texts(page.Messages))
		}
		page, err = s.Since(t.Context(), a, keep, at, 10)
		check(t, err)
		if len(page.Messages) != 0 || page.More || page.Next != at {
			t.Errorf("after the top: %+v", page)
		}
	})
	t.Run("latest pages downwards", func(t *testing.T) {
		a, epoch := filled(t, 5, keep)
		page, err := s.Latest(t.Context(), a, keep, 0, 2)
		check(t, err)
		if texts(page.Messages) != "[5 4]" || !page.More || page.Next != (bus.Position{Epoch: epoch, Offset: 4}) {
			t.Fatalf("page is %s, %+v", texts(page.Messages), page)
		}
		page, err = s.Latest(t.Context(), a, keep, page.Next.Offset, 10)
		check(t, err)
		if texts(page.Messages) != "[3 2 1]" || page.More {
			t.Errorf("page is %s, %+v", texts(page.Messages), page)
		}
		page, err = s.Latest(t.Context(), address(t), keep, 0, 10)
		check(t, err)
		if len(page.Messages) != 0 || page.More {
			t.Errorf("an empty log has %+v", page)
		}
	})
	t.Run("length is a bound, and what it drops is a gap", func(t *testing.T) {
		short := bus.Retention{Length: 3, Age: time.Minute}
		a, epoch := filled(t, 10, short)
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
		check(t, err)
		if texts(page.Messages) != "[8 9 10]" {
			t.Errorf("from the beginning: %s", texts(page.Messages))
		}
	})
	t.Run("another epoch is a gap", func(t *testing.T) {
		a, _ := filled(t, 3, keep)
		page, err := s.Since(t.Context(), a, keep, bus.Position{Epoch: "other", Offset: 1}, 10)
		if !errors.Is(err, bus.ErrGap) || texts(page.Messages) != "[1 2 3]" {
			t.Errorf("%s, %v", texts(page.Messages), err)
		}
	})
	t.Run("age is a bound", func(t *testing.T) {
		brief := bus.Retention{Length: 10, Age: 500 * time.Millisecond}
		a, epoch := filled(t, 3, brief)
		eventually(t, "the messages are too old", func() bool {
			page, err := s.Since(t.Context(), a, brief, bus.Position{}, 10)
			check(t, err)
			return len(page.Messages) == 0
		})
		page, err := s.Since(t.Context(), a, brief, bus.Position{Epoch: epoch, Offset: 1}, 10)
		if !errors.Is(err, bus.ErrGap) || page.Next != (bus.Position{Epoch: epoch, Offset: 3}) {
			t.Errorf("next is %+v, error %v", page.Next, err)
		}
		if r := publish(t, s, bus.Publication{Message: message(a, "4"), Retention: brief}); r.Position != (bus.Position{Epoch: epoch, Offset: 4}) {
			t.Errorf("the next message is at %+v", r.Position)
		}
	})
	t.Run("expired messages are left out and counted", func(t *testing.T) {
		a := address(t)
		p := durable(a, "expired")
		p.Message.Expires = p.Message.Published.Add(-time.Second)
		publish(t, s, durable(a, "1"))
		publish(t, s, p)
		publish(t, s, durable(a, "3"))
		publish(t, s, p)
		page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
		check(t, err)
		if texts(page.Messages) != "[1 3]" || page.Next.Offset != 4 {
			t.Errorf("%s, next %+v", texts(page.Messages), page.Next)
		}
	})
}
