package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// Clients that change one object together each see every change, in the order of the revisions, and can rebuild it.
func TestState_echoesChangesInOrder(t *testing.T) {
	h := start(t, publish.Config{})
	const to, writers, each = "channels/long:game", 20, 5
	c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: to})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				_, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{
					Address: to, Data: fmt.Appendf(nil, `{"writer%d":{"n":%d},"last":%d,"big":12345678901234567890}`, w, i, w),
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	rebuilt := []byte("{}")
	for i := range writers * each {
		m := c.message()
		if got := m.GetAttributes()["trunkline-state"]; got != strconv.Itoa(i+1) {
			t.Fatalf("change %d tells of revision %s", i+1, got)
		}
		var err error
		rebuilt, err = jsonpatch.MergePatch(rebuilt, m.GetData())
		testkit.Check(t, err)
	}
	resp, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
	testkit.Check(t, err)
	var a, b any
	testkit.Check(t, json.Unmarshal(rebuilt, &a))
	testkit.Check(t, json.Unmarshal(resp.GetState().GetData(), &b))
	if !reflect.DeepEqual(a, b) || resp.GetState().GetRevision() != writers*each {
		t.Errorf("rebuilt %s\nstate %v", rebuilt, resp)
	}
	if !strings.Contains(string(resp.GetState().GetData()), "12345678901234567890") {
		t.Errorf("a number lost its digits: %s", resp.GetState().GetData())
	}
}

func TestState_checksRevisionsAndInput(t *testing.T) {
	h := start(t, publish.Config{MaxMessage: 1000})
	const to = "channels/game"
	update := func(data string, revision *uint64) (*publishv1.State, error) {
		resp, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: to, Data: []byte(data), Revision: revision})
		return resp.GetState(), err
	}
	at := func(n uint64) *uint64 { return &n }
	s, err := update(`{"a":1,"b":{"c":[1,2]},"d":[]}`, at(0))
	if err != nil || s.GetRevision() != 1 {
		t.Fatalf("got %v, %v", s, err)
	}
	s, err = update(`{"a":null,"b":{"c":[3]}}`, at(1))
	if err != nil || !jsonpatch.Equal(s.GetData(), []byte(`{"b":{"c":[3]},"d":[]}`)) { // members have no order
		t.Errorf("got %s, %v", s.GetData(), err)
	}
	_, err = update(`{}`, at(1))
	if e := refusal(t, err, bus.ErrRevisionMismatch); e.Metadata["revision"] != "2" {
		t.Errorf("metadata is %v", e.Metadata)
	}
	for _, data := range []string{"", "[]", "1", "null", "{", `{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}"} {
		_, err := update(data, nil)
		refused(t, err, bus.ErrFieldInvalid)
	}
	_, err = update(`{"x":"`+strings.Repeat("y", 990)+`"}`, nil) // small enough alone
	refused(t, err, bus.ErrMessageTooLarge)
	_, err = h.states.DeleteState(t.Context(), &publishv1.DeleteStateRequest{Address: to})
	testkit.Check(t, err)
	resp, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
	if err != nil || resp.GetState().GetRevision() != 0 || string(resp.GetState().GetData()) != "{}" {
		t.Errorf("after a delete: %v, %v", resp, err)
	}
}

// deaf is a store that makes a change of a state and loses the answer, as often as it is told to.
type deaf struct {
	*memory.Store
	lose atomic.Int32
}

func (d *deaf) SetState(ctx context.Context, c bus.AdmittedState) (bus.State, error) {
	at, err := d.Store.SetState(ctx, c)
	if err == nil && d.lose.Add(-1) >= 0 {
		return bus.State{}, bus.ErrStoreUnavailable
	}
	return at, err
}

// A change whose answer was lost is repeated with its key: it has the first answer, and nothing changes or is told again.
func TestState_isChangedOnceForEachKey(t *testing.T) {
	store := &deaf{}
	h := startOn(t, publish.Config{MaxMessage: 100}, func(s *memory.Store) publish.Store { store.Store = s; return store })
	zero := uint64(0)
	first := &publishv1.UpdateStateRequest{Address: "channels/game", Data: []byte(`{"a":1}`), Revision: &zero, IdempotencyKey: "k1"}
	store.lose.Store(1)
	_, err := h.states.UpdateState(t.Context(), first)
	refused(t, err, bus.ErrStoreUnavailable)
	second := &publishv1.UpdateStateRequest{
		Address: "channels/game", Data: []byte(`{"b":"` + strings.Repeat("x", 80) + `"}`), IdempotencyKey: "k2",
	}
	store.lose.Store(1)
	_, err = h.states.UpdateState(t.Context(), second)
	refused(t, err, bus.ErrStoreUnavailable)
	for range 2 {
		one, err := h.states.UpdateState(t.Context(), first)
		if err != nil || one.GetState().GetRevision() != 1 || string(one.GetState().GetData()) != `{"a":1}` {
			t.Errorf("the first again: %v, %v", one, err)
		}
		two, err := h.states.UpdateState(t.Context(), second)
		if err != nil || two.GetState().GetRevision() != 2 {
			t.Errorf("the second again: %v, %v", two, err)
		}
	}
	// Somebody makes it so large that the change would not fit any more; it has been made.
	_, err = h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: "channels/game", Data: []byte(`{"a":null,"b":null}`)})
	testkit.Check(t, err)
	_, err = h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: "channels/game", Data: []byte(`{"c":"` + strings.Repeat("x", 80) + `"}`)})
	testkit.Check(t, err)
	if two, err := h.states.UpdateState(t.Context(), second); err != nil || two.GetState().GetRevision() != 2 {
		t.Errorf("the second at last: %v, %v", two, err)
	}
	first.Data = []byte(`{"a":2}`)
	_, err = h.states.UpdateState(t.Context(), first)
	refused(t, err, bus.ErrIdempotencyMismatch)
	other := uint64(3)
	for _, revision := range []*uint64{&other, nil} {
		_, err = h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{
			Address: "channels/game", Data: []byte(`{"a":1}`), Revision: revision, IdempotencyKey: "k1",
		})
		refused(t, err, bus.ErrIdempotencyMismatch)
	}
	first.IdempotencyKey = "k3"
	_, err = h.states.UpdateState(t.Context(), first)
	refused(t, err, bus.ErrRevisionMismatch)
	first.IdempotencyKey = "no good"
	_, err = h.states.UpdateState(t.Context(), first)
	refused(t, err, bus.ErrFieldInvalid)
	page, err := h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/game"})
	if err != nil || len(page.GetMessages()) != 4 {
		t.Errorf("%d changes were told, %v", len(page.GetMessages()), err)
	}
}

// What Trunkline itself tells by an attribute, nobody else can. A message that looks like the change of a state, or like a dead letter, is refused.
func TestPublish_nobodySetsOurAttributes(t *testing.T) {
	h := start(t, publish.Config{})
	for _, name := range []string{bus.StateRevision, bus.DeadLetterOf, "trunkline-anything"} {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
			To: "channels/x", Data: []byte(`{}`), Attributes: map[string]string{name: "7"},
		})
		if e := rpc.FromError(err); e == nil || e.Reason != "FIELD_INVALID" || e.Fields[0].Field != "attributes" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A state has a limit of its own, whatever messages may have. It may still be made smaller.
func TestState_hasALimitOfItsOwn(t *testing.T) {
	h := start(t, publish.Config{MaxMessage: 1 << 20, MaxState: 2000})
	set := func(data string) error {
		_, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: "channels/s", Data: []byte(data)})
		return err
	}
	for _, member := range []string{"a", "b", "c"} {
		testkit.Check(t, set(fmt.Sprintf(`{%q:%q}`, member, strings.Repeat("x", 600))))
	}
	err := set(fmt.Sprintf(`{"d":%q}`, strings.Repeat("x", 600)))
	refused(t, err, bus.ErrMessageTooLarge)
	if e := rpc.FromError(err); e.Metadata["limit"] != "2000" {
		t.Errorf("the refusal says %v", e.Metadata)
	}
	testkit.Check(t, set(`{"a":null}`))
	// Where messages are smaller than states may be, so are states.
	h = start(t, publish.Config{MaxMessage: 1500})
	testkit.Check(t, set(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 1000))))
	refused(t, set(fmt.Sprintf(`{"b":%q}`, strings.Repeat("x", 1000))), bus.ErrMessageTooLarge)
}

// Each try of a change is paid for, and the tries have an end. So a change that loses against others costs what its charges say.
func TestState_paysForEachTry(t *testing.T) {
	var taken atomic.Int64
	h := start(t, publish.Config{Charging: func(_ bus.Account, c bus.Charge) error {
		taken.Add(int64(c.Messages))
		return nil
	}})
	const writers, each = 8, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				_, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: "channels/s", Data: fmt.Appendf(nil, `{"w%d":%d}`, w, i)})
				testkit.Check(t, err)
			}
		})
	}
	all.Wait()
	if n := taken.Load(); n < writers*each || n > writers*each*17 {
		t.Errorf("%d changes were charged %d times", writers*each, n)
	}
	t.Logf("%d changes were charged %d times", writers*each, taken.Load())
}
