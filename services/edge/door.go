package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// writer hands on what clients write. The publish service takes the edge's word for who they are and asks no authorizer, so
// every address that a request is going to write to passes the door here, for the client. Nothing else of the edge has
// these services.
type writer struct {
	door    *bus.Door
	publish publishv1.PublishServiceClient
	states  publishv1.StateServiceClient
}

// send publishes for a client, from the connection.
func (w *writer) send(ctx context.Context, who *bus.Identity, connection string, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	targets, err := targetsOf(req)
	if err != nil {
		return nil, err
	}
	if err := w.door.May(ctx, who, targets...); err != nil {
		return nil, err
	}
	req.From = &publishv1.Sender{Client: who.Client, User: who.User}
	req.ExcludeConnection = ""
	if req.GetExcludeSender() {
		req.ExcludeConnection = connection
	}
	resp, err := w.publish.Publish(ctx, req)
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp, nil
}

// targetsOf returns every address that a request is going to write to, now or later.
func targetsOf(req *publishv1.PublishRequest) ([]bus.Address, error) {
	to, err := bus.ParseAddress(req.GetTo())
	if err != nil {
		return nil, err
	}
	targets := []bus.Address{to}
	if name := req.GetAck().GetDeadLetter(); name != "" {
		var bad bus.Invalid
		targets = append(targets, bad.Address("ack.dead_letter", name))
		if err := bad.Err(); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// state reads a state for a client.
func (w *writer) state(ctx context.Context, who *bus.Identity, a bus.Address) (*publishv1.State, error) {
	if err := who.Check(bus.History, a); err != nil {
		return nil, err
	}
	resp, err := w.states.GetState(ctx, &publishv1.GetStateRequest{Address: a.String()})
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp.GetState(), nil
}

// updateState changes a state for a client.
func (w *writer) updateState(ctx context.Context, who *bus.Identity, req *publishv1.UpdateStateRequest) (*publishv1.State, error) {
	a, err := bus.ParseAddress(req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := w.door.May(ctx, who, a); err != nil {
		return nil, err
	}
	if req.GetIdempotencyKey() != "" {
		req.IdempotencyKey = ownKey(who, req.GetIdempotencyKey())
	}
	resp, err := w.states.UpdateState(ctx, req)
	if err != nil {
		return nil, rpc.Unreachable(err, bus.ErrUnavailable)
	}
	return resp.GetState(), nil
}

// ownKey keeps the idempotency keys of two clients apart, which the edge calls for alike. One that is too long stays so, and is refused.
func ownKey(who *bus.Identity, key string) string {
	if len(key) > bus.MaxKey {
		return key
	}
	sum := sha256.Sum256([]byte(who.Client + "\n" + who.User + "\n" + key))
	return hex.EncodeToString(sum[:])
}
