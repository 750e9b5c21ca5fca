package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

const (
	// stateTTL is how long a state is kept after its last change.
	stateTTL = 30 * 24 * time.Hour
	// stateTries is how often a change without a revision is tried against changes of others.
	stateTries = 16
)

// GetState returns the state of an address.
func (s *Server) GetState(ctx context.Context, req *publishv1.GetStateRequest) (*publishv1.GetStateResponse, error) {
	a, err := bus.AddressIn("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := s.mayRead(ctx, rpc.CallerFrom(ctx), a); err != nil {
		return nil, err
	}
	at, err := s.store.State(ctx, a)
	if err != nil {
		return nil, err
	}
	return &publishv1.GetStateResponse{State: stateProto(a, at)}, nil
}

func stateProto(a bus.Address, at bus.State) *publishv1.State {
	p := &publishv1.State{
		Address: a.String(), Revision: at.Revision, Data: at.Value, ContentType: publishv1.ContentType_CONTENT_TYPE_JSON,
	}
	if at.Revision == 0 {
		p.Data = []byte("{}")
	} else {
		p.UpdateTime = convert.Time(at.Updated)
	}
	return p
}

// UpdateState changes the state of an address by a merge patch.
func (s *Server) UpdateState(ctx context.Context, req *publishv1.UpdateStateRequest) (*publishv1.UpdateStateResponse, error) {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
	s.checkPatch(&bad, req)
	if err := bad.Err(); err != nil {
		return nil, tooLarge(err, len(req.GetData()), s.cfg.MaxMessage)
	}
	caller := rpc.CallerFrom(ctx)
	leave, err := s.door.Enter(ctx, caller, a)
	if err != nil {
		return nil, err
	}
	c := &change{UpdateStateRequest: req, caller: caller, to: a, leave: leave}
	for try := 0; ; try++ {
		next, err := s.merge(ctx, c)
		if errors.Is(err, bus.ErrRevisionMismatch) && req.Revision == nil && try < stateTries {
			continue // somebody else was faster
		}
		if err != nil {
			return nil, err
		}
		return &publishv1.UpdateStateResponse{State: stateProto(a, next)}, nil
	}
}

// change is one request to change a state.
type change struct {
	*publishv1.UpdateStateRequest
	caller *rpc.Caller
	to     bus.Address
	leave  bus.Entry
}

// merge makes the change from the state that is there now.
func (s *Server) merge(ctx context.Context, c *change) (bus.State, error) {
	at, err := s.store.State(ctx, c.to)
	if err != nil {
		return at, err
	}
	merged, err := c.apply(at)
	if err == nil {
		at, err = s.write(ctx, c, at.Revision, merged)
	}
	if err == nil || c.GetIdempotencyKey() == "" || !errors.Is(err, bus.ErrRevisionMismatch) && !errors.Is(err, bus.ErrMessageTooLarge) {
		return at, err
	}
	// The change may have been made already: then it is what is in the way of its repeat, and has the first answer.
	if first, again := s.write(ctx, c, bus.NoRevision, nil); !errors.Is(again, bus.ErrRevisionMismatch) {
		return first, again
	}
	return at, err
}

// apply returns the state after the change.
func (c *change) apply(at bus.State) ([]byte, error) {
	if c.Revision != nil && c.GetRevision() != at.Revision {
		return nil, bus.ErrRevisionMismatch.With("", map[string]string{"address": c.to.String(), "revision": strconv.FormatUint(at.Revision, 10)})
	}
	value := at.Value
	if at.Revision == 0 {
		value = []byte("{}")
	}
	merged, err := mergePatch(value, c.GetData())
	if err != nil {
		return nil, bus.ErrFieldInvalid.With("data: is not a merge patch for the state", nil)
	}
	return merged, nil
}

// write asks the store to make a revision the next one.
func (s *Server) write(ctx context.Context, c *change, from uint64, value []byte) (bus.State, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return bus.State{}, err
	}
	p := bus.Publication{
		Message: bus.Message{
			ID: id.String(), To: c.to, Data: c.GetData(), ContentType: bus.JSON,
			From: bus.Sender{Client: c.GetSender().GetClient(), User: c.GetSender().GetUser()},
		},
		IdempotencyKey: c.GetIdempotencyKey(),
	}
	if p.IdempotencyKey != "" {
		p.Digest = c.digest()
	}
	in, err := s.door.AdmitState(c.leave, bus.StateChange{Revision: from, Value: value, TTL: stateTTL, Publication: p})
	if err != nil {
		return bus.State{}, err
	}
	return s.store.SetState(ctx, in)
}

// digest is the SHA-256 of what makes the change what it is. No message has the same.
func (c *change) digest() string {
	h := sha256.New()
	part(h, []byte("state"))
	part(h, []byte(c.to.String()))
	part(h, c.GetData())
	if c.Revision != nil {
		_ = binary.Write(h, binary.BigEndian, c.GetRevision()) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkPatch notes what is wrong with a merge patch.
func (s *Server) checkPatch(bad *bus.Invalid, req *publishv1.UpdateStateRequest) {
	data := bytes.TrimSpace(req.GetData())
	switch {
	case req.GetContentType() > publishv1.ContentType_CONTENT_TYPE_JSON:
		bad.Add("content_type", "is not CONTENT_TYPE_JSON")
	case len(data) > s.cfg.MaxMessage:
		bad.Add("data", "has %d bytes, the limit is %d", len(data), s.cfg.MaxMessage)
	case len(data) == 0 || data[0] != '{' || !json.Valid(data) || !utf8.Valid(data):
		bad.Add("data", "is not a JSON object; write the members to change, null to remove one")
	default:
		bad.CheckDepth("data", data)
	}
}

// tooLarge gives a refusal for nothing but the size its own reason.
func tooLarge(err error, size, limit int) error {
	e := rpc.FromError(err)
	if size <= limit || len(e.Fields) != 1 {
		return err
	}
	large := bus.ErrMessageTooLarge.With(e.Message, map[string]string{"limit": strconv.Itoa(limit), "size": strconv.Itoa(size)})
	large.Fields = e.Fields
	return large
}

// DeleteState removes the state of an address.
func (s *Server) DeleteState(ctx context.Context, req *publishv1.DeleteStateRequest) (*publishv1.DeleteStateResponse, error) {
	a, err := bus.AddressIn("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	leave, err := s.door.Enter(ctx, rpc.CallerFrom(ctx), a)
	if err != nil {
		return nil, err
	}
	in, err := s.door.AdmitState(leave, bus.StateChange{Publication: bus.Publication{Message: bus.Message{To: a, ContentType: bus.JSON}}})
	if err != nil {
		return nil, err
	}
	return &publishv1.DeleteStateResponse{}, s.store.DeleteState(ctx, in)
}
