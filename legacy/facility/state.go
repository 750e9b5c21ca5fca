package facility

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// stateAttribute carries the revision in the message of a change.
const stateAttribute = bus.StateRevision

// stateFrame is a frame about the object of an audience, which sockets speak whose query names state:
// {"trunkline-state":{}} reads it, with a merge patch in merge it is changed, at the revision if there is one, and once for
// each idempotency key.
type stateFrame struct {
	State *struct {
		Merge    json.RawMessage `json:"merge"`
		Revision *uint64         `json:"revision"`
		Key      string          `json:"idempotencyKey"`
	} `json:"trunkline-state"`
}

// stateAnswer is what the server says: the value, a change, or why not.
type stateAnswer struct {
	Revision uint64          `json:"revision"`
	Value    json.RawMessage `json:"value,omitempty"`
	Merge    json.RawMessage `json:"merge,omitempty"`
	Error    string          `json:"error,omitempty"`
	Message  string          `json:"message,omitempty"`
}

func (a stateAnswer) append(dst []byte) []byte {
	b, err := json.Marshal(map[string]stateAnswer{stateAttribute: a})
	if err != nil {
		return nil // a value that is no JSON, which no state is
	}
	return append(dst, b...)
}

// isStateFrame says whether a frame is one, as far as can be seen at a glance.
func isStateFrame(data []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`+stateAttribute+`"`))
}

// stateFrame carries a frame out and returns the answer.
func (t *talk) stateFrame(ctx context.Context, data []byte) []byte {
	s, err := t.askState(ctx, data)
	if err != nil {
		e := refusal(err)
		return stateAnswer{Error: e.Reason, Message: e.Message}.append(nil)
	}
	return stateAnswer{Revision: s.GetRevision(), Value: s.GetData()}.append(nil)
}

func (t *talk) askState(ctx context.Context, data []byte) (*publishv1.State, error) {
	var f stateFrame
	if err := json.Unmarshal(data, &f); err != nil || f.State == nil {
		return nil, bus.ErrInvalidJSON.With("the frame is not {\"trunkline-state\":{…}}", nil)
	}
	if f.State.Merge == nil {
		if len(t.from) == 0 {
			return nil, bus.ErrSubscribeDenied.With("the socket follows no audience", nil)
		}
		return t.states.State(ctx, t.from[0])
	}
	if len(t.to) == 0 {
		return nil, bus.ErrPublishDenied.With("the socket publishes to no audience", nil)
	}
	return t.states.UpdateState(ctx, &publishv1.UpdateStateRequest{
		Address: t.to[0].String(), Data: f.State.Merge, Revision: f.State.Revision, IdempotencyKey: f.State.Key,
	})
}

// stateChange appends what a change is to a socket that speaks of states; nil to others, which know of none.
func (t *talk) stateChange(dst []byte, revision string, patch []byte) []byte {
	n, err := strconv.ParseUint(revision, 10, 64)
	if err != nil || !t.wishes.state {
		return nil
	}
	return stateAnswer{Revision: n, Merge: patch}.append(dst)
}
