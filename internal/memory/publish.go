package memory

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Publish checks, appends and fans out under the address's lock.
func (s *Store) Publish(ctx context.Context, in bus.Admitted) (bus.Receipt, error) {
	p := in.Publication()
	if err := ctx.Err(); err != nil {
		return bus.Receipt{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	return s.publish(&p)
}

// PublishAll publishes one after the other.
func (s *Store) PublishAll(ctx context.Context, ps []bus.Admitted) ([]bus.Receipt, []error) {
	receipts := make([]bus.Receipt, len(ps))
	errs := make([]error, len(ps))
	for i := range ps {
		receipts[i], errs[i] = s.Publish(ctx, ps[i])
	}
	return receipts, errs
}

func (s *Store) publish(p *bus.Publication) (bus.Receipt, error) {
	to := p.Message.To
	now := s.now()
	stamp(&p.Message, now, p.TTL)
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	if err := s.takes(p); err != nil {
		return bus.Receipt{}, err
	}
	c := part.cells[to]
	if c == nil {
		if !p.Retention.Durable() && p.IdempotencyKey == "" && p.Ack == nil && p.Retain <= 0 {
			return liveReceipt(p), nil // nobody listens and nothing is kept
		}
		s.sweepSome(part, now)
		if err := s.room(p); err != nil {
			return bus.Receipt{}, err
		}
		c = s.cell(part, to)
	}
	if p.Retention.Durable() || p.IdempotencyKey != "" || p.Ack != nil || p.Retain > 0 {
		*p = p.Clone()
	}
	r, err := c.publish(p, now, s.cfg.Keys, s.room(p))
	s.counted(c)
	if err == nil && p.Ack != nil && !r.Duplicate {
		s.due.set(bus.Due{To: p.Message.To, ID: p.Message.ID}, r.Published.Add(min(p.Ack.Timeout, p.Ack.Keep)))
	}
	return r, err
}

// room says why the store cannot keep what a publication makes it keep; nil when it can, and for what Trunkline itself tells.
func (s *Store) room(p *bus.Publication) error {
	if p.Message.To.Kind() == bus.KindSystem || !p.Retention.Durable() && p.Ack == nil && p.Retain <= 0 && p.IdempotencyKey == "" {
		return nil
	}
	return s.budget.full()
}

// takes says why the store cannot take a publication; nil when it can.
func (s *Store) takes(p *bus.Publication) error {
	to := p.Message.To
	switch {
	case to.IsZero():
		return bus.ErrInternal // no door has let it in
	case p.Durability > bus.Accepted:
		return bus.ErrNotDurable.With("the memory store keeps one copy, and no file; use Redis", map[string]string{"setting": "redis.url"})
	case p.RequireChannel && !s.meta.hasChannel(to.WithoutTopic()):
		return bus.ErrChannelNotFound.With("", map[string]string{"address": to.String()})
	}
	return nil
}

// publish publishes to the cell. What is new is refused with full; a repeat has its first answer.
func (c *cell) publish(p *bus.Publication, now time.Time, keys int, full error) (bus.Receipt, error) {
	if p.IdempotencyKey != "" {
		if r, ok, err := c.repeat(p, now); ok || err != nil {
			return r, err
		}
		if err := c.mayRemember(p, now, keys); err != nil {
			return bus.Receipt{}, err
		}
	}
	if full != nil {
		return bus.Receipt{}, full
	}
	c.used = now
	m := p.Message
	r := liveReceipt(p)
	if p.Ack != nil {
		there, err := c.enter(p, &m, now)
		if err != nil {
			return bus.Receipt{}, err
		}
		r.Position = m.Position
		r.Durability = bus.Accepted
		if there != nil {
			r.Position, r.Published, r.Duplicate = there.message.Position, there.delivery.Published, true
			return r, nil
		}
	} else if p.Retention.Durable() {
		c.age(now)
		c.append(&m, p.Retention)
		r.Position, r.Published = m.Position, m.Published
		r.Durability = bus.Accepted
	}
	if p.IdempotencyKey != "" {
		c.remember(p, r, now)
	}
	if p.Retain > 0 && p.Ack == nil {
		c.retain(retained{m: &m, until: now.Add(p.Retain)})
	}
	for _, f := range c.feeds {
		f.put(&m)
	}
	return r, nil
}

func liveReceipt(p *bus.Publication) bus.Receipt {
	return bus.Receipt{ID: p.Message.ID, Durability: bus.Live, Published: p.Message.Published}
}
