package facility

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// commandFrame is a frame for the server, where commands are allowed: {"command":"SET key1 15",…}. It is answered with itself
// and the result, or why not.
type commandFrame struct {
	Command   *string         `json:"command"`
	SessionID json.RawMessage `json:"sessionId,omitempty"`
	Date      json.RawMessage `json:"date,omitempty"`
	Result    any             `json:"result,omitempty"`
	Error     *refused        `json:"error,omitempty"`
}

type refused struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// command carries out a command frame; false when it is none.
func (t *talk) command(ctx context.Context, data []byte) bool {
	if t.socket.cfg.Commands == nil || len(data) == 0 || data[0] != '{' {
		return false
	}
	var f commandFrame
	if json.Unmarshal(data, &f) != nil || f.Command == nil {
		return false
	}
	f.Result, f.Error = nil, nil
	var err error
	if f.Result, err = t.run(ctx, *f.Command); err != nil {
		e := bus.ErrInternal
		errors.As(t.socket.cfg.Refusal(err), &e)
		f.Error = &refused{Reason: e.Reason, Message: e.Message}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(f) == nil {
		t.conn.Write(dialect.Text, bytes.TrimSuffix(out.Bytes(), []byte("\n")))
	}
	return true
}

// nothing is null, which omitempty does not leave out.
var nothing = json.RawMessage("null")

// run runs a store command on the values of the session, or of the connection that has none.
func (t *talk) run(ctx context.Context, command string) (any, error) {
	who := *t.conn.Identity()
	if who.Client == "" {
		who.Client = t.conn.ID()
	}
	r, err := t.socket.cfg.Commands.RunCommand(ctx, &legacyv1.RunCommandRequest{Command: command, Owner: who.ValueOwner()})
	if err != nil {
		return nil, err
	}
	switch v := r.GetResult().(type) {
	case *legacyv1.RunCommandResponse_Text:
		return v.Text, nil
	case *legacyv1.RunCommandResponse_Number:
		return v.Number, nil
	}
	return nothing, nil
}
