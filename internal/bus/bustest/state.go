package bustest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

func testStates(t *testing.T, open Open) {
	s := open(t)
	change := func(a bus.Address, at uint64, value string) bus.StateChange {
		return bus.StateChange{Publication: durable(a, value), Revision: at, Value: []byte(value), TTL: time.Minute}
	}
	t.Run("revisions", func(t *testing.T) {
		a := address(t)
		l := listen(t, s, a)
		at, err := s.State(t.Context(), a)
		check(t, err)
		if at.Revision != 0 || at.Value != nil {
			t.Errorf("an unused address has %+v", at)
		}
		for i := range uint64(3) {
			next, err := s.SetState(t.Context(), AdmitState(change(a, i, fmt.Sprint("v", i+1))))
			check(t, err)
			if next.Revision != i+1 {
				t.Errorf("revision is %d", next.Revision)
			}
			if m := l.next(); text(m) != fmt.Sprint("v", i+1) || m.Position.Offset != i+1 {
				t.Errorf("message is %+v", m)
			}
		}
		for _, wrong := range []uint64{0, 2, 4} {
			if _, err := s.SetState(t.Context(), AdmitState(change(a, wrong, "no"))); !errors.Is(err, bus.ErrRevisionMismatch) {
				t.Errorf("from revision %d: %v", wrong, err)
			}
		}
		at, err = s.State(t.Context(), a)
		check(t, err)
		if at.Revision != 3 || string(at.Value) != "v3" || at.Updated.IsZero() {
			t.Errorf("state is %+v", at)
		}
		check(t, s.DeleteState(t.Context(), AdmitDeletion(a)))
		check(t, s.DeleteState(t.Context(), AdmitDeletion(a)))
		if next, err := s.SetState(t.Context(), AdmitState(change(a, 0, "again"))); err != nil || next.Revision != 1 {
			t.Errorf("after a delete: %+v, %v", next, err)
		}
		if m := l.next(); text(m) != "again" {
			t.Errorf("a refused change was published: %+v", m)
		}
	})
	t.Run("expires", func(t *testing.T) {
		a := address(t)
		c := change(a, 0, "x")
		c.TTL = 20 * time.Millisecond
		_, err := s.SetState(t.Context(), AdmitState(c))
		check(t, err)
		eventually(t, "it is forgotten", func() bool {
			at, err := s.State(t.Context(), a)
			check(t, err)
			return at.Revision == 0
		})
	})
	t.Run("one of many wins each revision", func(t *testing.T) {
		a := address(t)
		l := listen(t, s, a)
		const callers, each = 8, 25
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for done := 0; done < each; {
					at, err := s.State(t.Context(), a)
					if err == nil {
						_, err = s.SetState(t.Context(), AdmitState(change(a, at.Revision, fmt.Sprint(at.Revision+1))))
					}
					switch {
					case err == nil:
						done++
					case !errors.Is(err, bus.ErrRevisionMismatch):
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		for i := range callers * each {
			if m := l.next(); text(m) != fmt.Sprint(i+1) {
				t.Fatalf("message %d tells of revision %s", i+1, text(m))
			}
		}
	})
}
