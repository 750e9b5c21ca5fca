package tail

import (
	"context"
	"errors"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// Replay hands on what an address has kept after a position; after the zero position means everything. Call it after the
// subscriber has been attached to the sink with a hold and Acquire has returned. What is published meanwhile is then held, and
// the caller drops held messages up to the position that Replay returns. Replay calls gap at most once for each gap, before the
// messages that follow it. Both emit and gap may block; an error of emit ends the replay.
func (t *Tail) Replay(ctx context.Context, a bus.Address, after bus.Position, gap func(bus.Gap), emit func(*bus.Message) error) (bus.Position, error) {
	return t.ReplayPages(ctx, a, after, func(p *Shared) error {
		if p.Gap != nil {
			gap(*p.Gap)
		}
		for _, m := range p.Messages {
			if err := emit(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplayPages is Replay by pages, which subscribers that come back together share.
func (t *Tail) ReplayPages(ctx context.Context, a bus.Address, after bus.Position, page func(*Shared) error) (bus.Position, error) {
	limit := min(firstPage, t.cfg.HealPage)
	for {
		p, err := t.reads.page(ctx, place{a, after, limit})
		if err != nil {
			return after, err
		}
		if err := page(p); err != nil {
			return after, err
		}
		// By position and not by count: the store skips what has expired.
		after = p.Next
		if !p.More {
			return p.end(), nil
		}
		limit = t.nextLimit(p, limit)
	}
}

const (
	// pageBytes is about how much a page of a replay may hold: somebody who reads slowly keeps it for as long.
	pageBytes = 256 << 10
	// firstPage is how many messages a replay asks for while it does not know how large they are.
	firstPage = 32
)

// nextLimit is how many messages the next page is asked for, when they are as large as those of the last one.
func (t *Tail) nextLimit(last *Shared, limit int) int {
	if len(last.Messages) == 0 {
		return limit
	}
	bytes := int64(0)
	for _, m := range last.Messages {
		bytes += sizeOf(m)
	}
	fit := pageBytes * int64(len(last.Messages)) / bytes // each has a size
	return int(min(max(fit, 1), int64(t.cfg.HealPage)))
}

// readReplay reads a page of a replay, and keeps no more of it than a page may hold.
func (t *Tail) readReplay(ctx context.Context, at place, limit int) (*Shared, error) {
	p, err := t.readPage(ctx, at, limit)
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for i, m := range p.Messages {
		if bytes += sizeOf(m); bytes > pageBytes && i > 0 {
			// A copy, so that nothing holds the rest.
			p.Messages, p.More = slices.Clone(p.Messages[:i]), true
			p.Next = p.Messages[i-1].Position
			break
		}
	}
	return p, nil
}

// readPage reads the log once.
func (t *Tail) readPage(ctx context.Context, at place, limit int) (*Shared, error) {
	p, err := t.log.Since(ctx, at.address, t.Retention(at.address), at.from, limit)
	if err != nil && !errors.Is(err, bus.ErrGap) {
		return nil, err
	}
	shared := &Shared{Page: p}
	if err != nil {
		g := gapBefore(at.address, at.from, p)
		shared.Gap = &g
	}
	return shared, nil
}

// gapBefore describes what is missing between from and the page that the log answered with.
func gapBefore(a bus.Address, from bus.Position, p bus.Page) bus.Gap {
	g := bus.Gap{Address: a, From: from, To: p.Next, Reason: bus.GapTrimmed}
	// The gap ends right before the first message that is left.
	if len(p.Messages) > 0 {
		first := p.Messages[0].Position
		g.To = bus.Position{Epoch: first.Epoch, Offset: first.Offset - 1}
	}
	switch {
	case p.Unproved:
		g.Reason = bus.GapTailUnknown
	case from.Epoch != g.To.Epoch && !p.Forked: // a fork goes on with the same log
		g.Reason = bus.GapEpoch
	case from.Offset > g.To.Offset:
		g.Reason = bus.GapStoreReset // the log has lost its end
	}
	return g
}

// Missing returns what a subscriber that has come to a position cannot be given any more; nil when nothing is missing. The
// argument at is what Acquire returned. A log that is there no more has no position to go on from.
func (t *Tail) Missing(ctx context.Context, a bus.Address, at, after bus.Position) (*bus.Gap, error) {
	if after.Epoch == "" || after.Epoch == at.Epoch && after.Offset <= at.Offset {
		return nil, nil
	}
	p, err := t.readPage(ctx, place{a, after, 0}, t.cfg.HealPage)
	if err != nil {
		return nil, err
	}
	return p.Gap, nil
}

// Recovers says whether everything after a position that a subscriber gave can be replayed. This holds also over a restart or a
// failover that has kept the log. The argument at is what Acquire returned: a subscriber that stands there needs no question.
// Those that ask about the same position at the same time share one look.
func (t *Tail) Recovers(ctx context.Context, a bus.Address, at, after bus.Position) (bool, error) {
	if after.Epoch == "" || after == at {
		return true, nil
	}
	page, err := t.looks.page(ctx, place{a, after, 1})
	if err != nil {
		return false, err
	}
	return page.Gap == nil && !page.Forked, nil
}
