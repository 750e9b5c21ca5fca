package tail

import (
	"context"

	"github.com/trunkline/trunkline/internal/bus"
)

// Replay hands on what an address has kept after a position; after the zero position means
// everything. Call it after the subscriber has been attached to the sink with a hold and Acquire has returned: what is
// published meanwhile is then held, and the caller drops held messages up to the position that
// Replay returns. gap is called at most once for each gap, before the messages that follow it. emit
// and gap may block; an error of emit ends the replay.
func (t *Tail) Replay(ctx context.Context, a bus.Address, after bus.Position, gap func(bus.Gap), emit func(*bus.Message) error) (bus.Position, error) {
	return t.read(ctx, a, after, gap, func(p bus.Page) error {
		for _, m := range p.Messages {
			if err := emit(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// Recovers says whether a position that a subscriber gave belongs to the log of the address and is not in its future.
// at is what Acquire returned: it may lag behind what the subscriber has already read from the log, and then the log is asked.
func (t *Tail) Recovers(ctx context.Context, a bus.Address, at, after bus.Position) (bool, error) {
	if after.Epoch == "" || after.Epoch == at.Epoch && after.Offset <= at.Offset {
		return true, nil
	}
	tops, err := t.log.Tops(ctx, []bus.Address{a})
	if err != nil {
		return false, err
	}
	return after.Epoch == tops[0].Epoch && after.Offset <= tops[0].Offset, nil
}
