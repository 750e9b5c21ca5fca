package publish

import (
	"errors"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// mayHave says whether the stream's client may have a message that asks for an ack, and notes in the store when it may
// not. It returns an error when nobody can say, which ends the stream: the inbox waits.
func (r *reader) mayHave(m *bus.Message) (bool, error) {
	who := r.caller.Identity
	if m.Redelivered && (m.Ack == bus.EachDevice || bus.AsksDeliver(r.server.cfg.Authorizer)) {
		d, err := r.server.store.Delivery(r.ctx, m.To, m.ID, false)
		if err != nil && !errors.Is(err, bus.ErrMessageNotFound) {
			return false, err
		}
		if !d.For(who.Client) {
			return false, nil
		}
	}
	err := bus.AuthorizeDelivery(r.ctx, r.server.cfg.Authorizer, who, m)
	if err == nil {
		return true, nil
	}
	e := rpc.FromError(err)
	if e.RetryAfter > 0 {
		return false, e
	}
	return false, r.server.store.MarkDenied(r.ctx, []bus.Denial{{To: m.To, ID: m.ID, Device: who.Client, Why: e.Message}})
}
