package bustest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testStates(t *testing.T, open Open) {
	s := open(t)
	t.Run("revisions", func(t *testing.T) { testStatesRevisions(t, s) })
	t.Run("expires", func(t *testing.T) { testStatesExpires(t, s) })
	t.Run("a repeat has the first answer", func(t *testing.T) { testStatesARepeatHasTheFirstAnswer(t, s) })
	t.Run("a channel that was not created", func(t *testing.T) { testStatesAChannelThatWasNotCreated(t, s) })
	t.Run("what no door has let in", func(t *testing.T) { testStatesWhatNoDoorHasLetIn(t, s) })
	t.Run("one of many wins each revision", func(t *testing.T) { testStatesOneOfManyWinsEachRevision(t, s) })
}

// change sets the state of an address to a value, from a revision on.
func change(a bus.Address, at uint64, value string) bus.StateChange {
	return bus.StateChange{Publication: durable(a, value), Revision: at, Value: object(value), TTL: time.Minute}
}

// object is a state with one text in it.
func object(text string) []byte { return fmt.Appendf(nil, "{\"is\":%q}", text) }

func testStatesRevisions(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	at, err := s.State(t.Context(), a)
	testkit.Check(t, err)
	if at.Revision != 0 || at.Value != nil {
		t.Errorf("an unused address has %+v", at)
	}
	for i := range uint64(3) {
		next, err := s.SetState(t.Context(), AdmitState(change(a, i, fmt.Sprint("v", i+1))))
		testkit.Check(t, err)
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
	testkit.Check(t, err)
	if at.Revision != 3 || string(at.Value) != string(object("v3")) || at.Updated.IsZero() {
		t.Errorf("state is %+v", at)
	}
	testkit.Check(t, s.DeleteState(t.Context(), AdmitDeletion(a)))
	testkit.Check(t, s.DeleteState(t.Context(), AdmitDeletion(a)))
	if next, err := s.SetState(t.Context(), AdmitState(change(a, 0, "again"))); err != nil || next.Revision != 1 {
		t.Errorf("after a delete: %+v, %v", next, err)
	}
	if m := l.next(); text(m) != "again" {
		t.Errorf("a refused change was published: %+v", m)
	}
}

func testStatesExpires(t *testing.T, s bus.Store) {
	a := address(t)
	c := change(a, 0, "x")
	c.TTL = 20 * time.Millisecond
	_, err := s.SetState(t.Context(), AdmitState(c))
	testkit.Check(t, err)
	testkit.Eventually(t, "it is forgotten", func() bool {
		at, err := s.State(t.Context(), a)
		testkit.Check(t, err)
		return at.Revision == 0
	})
}

func testStatesARepeatHasTheFirstAnswer(t *testing.T, s bus.Store) {
	a := address(t)
	l := listen(t, s, a)
	c := change(a, 0, "first")
	c.IdempotencyKey, c.Digest, c.Window = "key", "digest", time.Minute
	first, err := s.SetState(t.Context(), AdmitState(c))
	testkit.Check(t, err)
	_, err = s.SetState(t.Context(), AdmitState(change(a, 1, "second")))
	testkit.Check(t, err)
	for _, revision := range []uint64{0, 1, 2} {
		c.Revision, c.Value = revision, object("other")
		again, err := s.SetState(t.Context(), AdmitState(c))
		testkit.Check(t, err)
		if again.Revision != 1 || string(again.Value) != string(object("first")) || again.Updated.UnixMilli() != first.Updated.UnixMilli() {
			t.Errorf("from revision %d: %+v, first it was %+v", revision, again, first)
		}
	}
	c.Digest = "another"
	if _, err := s.SetState(t.Context(), AdmitState(c)); !errors.Is(err, bus.ErrIdempotencyMismatch) {
		t.Errorf("another change with the key: %v", err)
	}
	p := durable(a, "message")
	p.IdempotencyKey, p.Digest, p.Window = "of a message", "digest", time.Minute
	publish(t, s, p)
	c.IdempotencyKey, c.Digest, c.Revision = "of a message", "digest", 2
	if _, err := s.SetState(t.Context(), AdmitState(c)); !errors.Is(err, bus.ErrIdempotencyMismatch) {
		t.Errorf("a change with the key of a message: %v", err)
	}
	for _, want := range []string{"first", "second", "message"} {
		if m := l.next(); text(m) != want {
			t.Errorf("got %q, want %q", text(m), want)
		}
	}
}

func testStatesAChannelThatWasNotCreated(t *testing.T, s bus.Store) {
	a := address(t)
	c := change(a, 0, "x")
	c.RequireChannel = true
	if _, err := s.SetState(t.Context(), AdmitState(c)); !errors.Is(err, bus.ErrChannelNotFound) {
		t.Errorf("a change: %v", err)
	}
	_, err := s.SetState(t.Context(), AdmitState(change(a, 0, "before")))
	testkit.Check(t, err)
	if err := s.DeleteState(t.Context(), AdmitState(c)); !errors.Is(err, bus.ErrChannelNotFound) {
		t.Errorf("a removal: %v", err)
	}
	if at, err := s.State(t.Context(), a); err != nil || string(at.Value) != string(object("before")) {
		t.Errorf("state is %+v, %v", at, err)
	}
	testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{Address: a, Created: time.Now()}, 0))
	testkit.Check(t, s.DeleteState(t.Context(), AdmitState(c)))
	if at, err := s.State(t.Context(), a); err != nil || at.Revision != 0 {
		t.Errorf("state is %+v, %v", at, err)
	}
}

func testStatesWhatNoDoorHasLetIn(t *testing.T, s bus.Store) {
	if _, err := s.SetState(t.Context(), bus.AdmittedState{}); !errors.Is(err, bus.ErrInternal) {
		t.Errorf("a change: %v", err)
	}
	if err := s.DeleteState(t.Context(), bus.AdmittedState{}); !errors.Is(err, bus.ErrInternal) {
		t.Errorf("a removal: %v", err)
	}
	if _, err := s.Publish(t.Context(), bus.Admitted{}); !errors.Is(err, bus.ErrInternal) {
		t.Errorf("a message: %v", err)
	}
	if _, errs := s.PublishAll(t.Context(), make([]bus.Admitted, 2)); !errors.Is(errs[0], bus.ErrInternal) || !errors.Is(errs[1], bus.ErrInternal) {
		t.Errorf("messages: %v", errs)
	}
}

func testStatesOneOfManyWinsEachRevision(t *testing.T, s bus.Store) {
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
}
