package publish_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
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
		check(t, err)
	}
	resp, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
	check(t, err)
	var a, b any
	check(t, json.Unmarshal(rebuilt, &a))
	check(t, json.Unmarshal(resp.GetState().GetData(), &b))
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
	check(t, err)
	resp, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
	if err != nil || resp.GetState().GetRevision() != 0 || string(resp.GetState().GetData()) != "{}" {
		t.Errorf("after a delete: %v, %v", resp, err)
	}
}
