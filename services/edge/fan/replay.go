package fan

import (
	"context"
	"errors"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/tail"
)

// ReplayPiece is how many bytes of a replay are written at once.
const ReplayPiece = 32 << 10

// errLeft ends the replay of a subscription that has ended.
var errLeft = errors.New("the subscription has ended")

// Replay writes what the log has after a position, and lets messages through. More may arrive meanwhile than is held, or of
// an epoch whose place is not known; the log has it, and is read again.
func (s *Subscription) Replay(ctx context.Context, t *tail.Tail, after bus.Position) error {
	for {
		s.Reading()
		next, err := t.ReplayPages(ctx, s.address, after, func(p *tail.Shared) error { return s.writePage(ctx, p) })
		if errors.Is(err, errLeft) {
			return nil
		}
		if err != nil || s.Flip(next) {
			return err
		}
		after = next // what came meanwhile and was not held is in the log by now
	}
}

// writePage writes a page of the log, the gap in front of it first.
func (s *Subscription) writePage(ctx context.Context, p *tail.Shared) error {
	if p.Gap != nil {
		if err := s.writePiece(ctx, s.to.bytes(s.to.shard.hub.gapParcel(*p.Gap))); err != nil {
			return err
		}
	}
	for _, piece := range s.to.pieces(p) {
		if err := s.writePiece(ctx, piece); err != nil {
			return err
		}
	}
	return nil
}

func (s *Subscription) writePiece(ctx context.Context, piece []byte) error {
	if len(piece) == 0 {
		return nil // the dialect has no words for it
	}
	return s.to.paced(ctx, piece, &s.gone) // looked at for each piece: a replay takes as long as its client likes
}

// pieces returns the frames of a page, a few in each. Subscribers of one dialect share them, unless the messages are not for everybody.
func (s *Subscriber) pieces(p *tail.Shared) [][]byte {
	if s.Talk == nil && !slices.ContainsFunc(p.Messages, (*bus.Message).Selective) {
		return p.Memo(s.slot, func() any { return s.framePage(p) }).([][]byte) //nolint:forcetypeassert // what it makes
	}
	return s.framePage(p)
}

func (s *Subscriber) framePage(p *tail.Shared) [][]byte {
	var all [][]byte
	var out []byte
	for _, m := range p.Messages {
		if m.For(s.ClientID(), s.ID) { // true for all of a page that is shared
			out = append(out, s.MessageFrame(m)...)
		}
		if len(out) >= ReplayPiece {
			all, out = append(all, out), nil
		}
	}
	if len(out) > 0 {
		all = append(all, out)
	}
	return all
}
