package facility

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Frames that are for the server, not for others. A command frame, where commands are allowed: {"command":"SET key1 15",…},
// answered with itself and "result". A state frame, of sockets that ask for "state" in their query: {"state":"get"} or
// {"state":"update","patch":{…},"revision":"3"}, on the first audience that they publish to, or the one named by "audience".

// word is such a frame.
type word struct {
	Command   *string         `json:"command"`
	SessionID json.RawMessage `json:"sessionId"`
	Date      json.RawMessage `json:"date"`

	State    *string         `json:"state"`
	Audience string          `json:"audience"`
	Patch    json.RawMessage `json:"patch"`
	Revision json.RawMessage `json:"revision"`
}

// answered is what the server says to it.
type answered struct {
	Command   *string         `json:"command,omitempty"`
	SessionID json.RawMessage `json:"sessionId,omitempty"`
	Date      json.RawMessage `json:"date,omitempty"`
	Result    any             `json:"result,omitempty"`

	State    *string         `json:"state,omitempty"`
	Audience string          `json:"audience,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Revision string          `json:"revision,omitempty"`

	Error *refused `json:"error,omitempty"`
}

type refused struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// answer carries out a frame that is for the server; false when it is for others.
func (t *talk) answer(ctx context.Context, data []byte) bool {
	commands, states := t.facility.cfg.Commands != nil, t.wishes.state && t.facility.cfg.States != nil
	if !commands && !states || len(data) == 0 || data[0] != '{' {
		return false
	}
	var w word
	if json.Unmarshal(data, &w) != nil {
		return false
	}
	var a answered
	var err error
	switch {
	case w.Command != nil && commands:
		a = answered{Command: w.Command, SessionID: w.SessionID, Date: w.Date}
		a.Result, err = t.run(ctx, *w.Command)
	case w.State != nil && states:
		a = answered{State: w.State}
		err = t.state(ctx, &w, &a)
	default:
		return false
	}
	if err != nil {
		a.Error = &refused{Reason: bus.ErrInternal.Reason, Message: bus.ErrInternal.Message}
		var e *bus.Error
		if errors.As(t.facility.cfg.Refusal(err), &e) {
			a.Error = &refused{Reason: e.Reason, Message: e.Message}
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(a) == nil {
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
	r, err := t.facility.cfg.Commands.RunCommand(ctx, &legacyv1.RunCommandRequest{Command: command, Owner: who.ValueOwner()})
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

// state reads or changes the object of an audience.
func (t *talk) state(ctx context.Context, w *word, a *answered) error {
	to, err := t.audience(w.Audience)
	if err != nil {
		return err
	}
	a.Audience = to.WithoutTopic().String()
	var s *publishv1.State
	switch *w.State {
	case "get":
		if err := t.conn.May(ctx, bus.History, to); err != nil {
			return err
		}
		r, err := t.facility.cfg.States.GetState(ctx, &publishv1.GetStateRequest{Address: to.String()})
		if err != nil {
			return err
		}
		s = r.GetState()
	case "update":
		if err := t.conn.May(ctx, bus.Publish, to); err != nil {
			return err
		}
		req := &publishv1.UpdateStateRequest{Address: to.String(), Data: w.Patch}
		if len(w.Revision) > 0 {
			n, err := strconv.ParseUint(string(bytes.Trim(w.Revision, `"`)), 10, 64)
			if err != nil {
				return invalid("revision", "is no revision; give it back as it came")
			}
			req.Revision = &n
		}
		r, err := t.facility.cfg.States.UpdateState(ctx, req)
		if err != nil {
			return err
		}
		s = r.GetState()
	default:
		return invalid("state", "is neither get nor update")
	}
	a.Value, a.Revision = s.GetData(), strconv.FormatUint(s.GetRevision(), 10)
	if len(a.Value) == 0 {
		a.Value = nothing
	}
	return nil
}

func invalid(field, text string) error {
	var bad bus.Invalid
	bad.Add(field, "%s", text)
	return bad.Err()
}

// audience finds an audience of the socket by its name, such as broadcast or groups/chat; the first one that it publishes to, or
// else follows, when there is no name.
func (t *talk) audience(name string) (bus.Address, error) {
	all := append(t.to[:len(t.to):len(t.to)], t.wishes.addresses(t.conn.Identity(), t.wishes.subscribe)...)
	for _, a := range all {
		if name == "" || a.WithoutTopic().String() == name {
			return a, nil
		}
	}
	return bus.Address{}, invalid("audience", "is none that this socket subscribes or publishes to")
}
