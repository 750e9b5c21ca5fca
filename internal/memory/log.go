package memory

import (
	"context"

	"github.com/trunkline/trunkline/internal/bus"
)

// Since returns a page after a position.
func (s *Store) Since(ctx context.Context, to bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	if err := ctx.Err(); err != nil {
		return bus.Page{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	now := s.now()
	c := s.cell(part, to)
	c.used = now
	if r.Inbox {
		return c.sinceInbox(to, after, limit, now)
	}
	young := c.young(now, r.Age)
	first := c.first() + uint64(young)
	if after.IsZero() {
		return c.page(young, limit, now), nil
	}
	if after.Epoch == c.epoch && after.Offset > c.top {
		return c.page(len(c.log), limit, now), bus.ErrGap.With("", map[string]string{"address": to.String()})
	}
	if after.Epoch != c.epoch || after.Offset+1 < first {
		return c.page(young, limit, now), bus.ErrGap.With("", map[string]string{"address": to.String()})
	}
	return c.page(int(after.Offset+1-c.first()), limit, now), nil
}

// Latest returns a page before an offset, newest first.
func (s *Store) Latest(ctx context.Context, to bus.Address, r bus.Retention, before uint64, limit int) (bus.Page, error) {
	if err := ctx.Err(); err != nil {
		return bus.Page{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	now := s.now()
	c := s.cell(part, to)
	c.used = now
	first := c.first() + uint64(c.young(now, r.Age))
	offset := c.top
	if before > 0 && before <= c.top {
		offset = before - 1
	}
	p := bus.Page{Top: c.position(c.top), Next: c.position(offset)}
	for looked := 0; offset >= first && offset > 0 && looked < limit; offset-- {
		looked++
		if m := c.log[offset-c.first()]; !m.Expired(now) {
			p.Messages = append(p.Messages, m)
		}
		p.Next = c.position(offset)
	}
	p.More = offset >= first && offset > 0
	return p, nil
}

// Tops returns the newest positions.
func (s *Store) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	if err := ctx.Err(); err != nil {
		return make([]bus.Position, len(addresses)), bus.AllFailed(len(addresses), bus.ErrStoreUnavailable.Wrap(err))
	}
	now := s.now()
	tops := make([]bus.Position, len(addresses))
	for i, a := range addresses {
		part := s.part(a)
		part.mu.Lock()
		c := s.cell(part, a)
		c.used = now
		tops[i] = c.position(c.top)
		part.mu.Unlock()
	}
	return tops, nil
}
