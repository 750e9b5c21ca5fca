package facility

import (
	"bytes"
	"encoding/json"

	"github.com/trunkline/trunkline/internal/bus"
)

// stateAttribute carries the revision in the message of a change.
const stateAttribute = bus.StateRevision

// stateFrame is a frame about the object of an audience, which sockets speak whose query names state. The frame
// {"trunkline-state":{}} reads the object. With a merge patch in merge the frame changes it, at the revision if there is one, and
// once for each idempotency key.
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
		// The value is no JSON, which no state should be. A client that asked must not wait for ever, and silence would tell nothing.
		return stateAnswer{Revision: a.Revision, Error: bus.ErrInternal.Reason, Message: bus.ErrInternal.Message}.append(dst)
	}
	return append(dst, b...)
}

// isStateFrame says whether a frame is one, as far as can be seen at a glance.
func isStateFrame(data []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`+stateAttribute+`"`))
}
